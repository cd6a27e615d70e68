# The generator as it is: what every other method is measured against.
add_method("base", target="hypernoise.methods.base:Base", version=1)
