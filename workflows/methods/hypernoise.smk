# A trained noise network, then the frozen generator. Training options are the config's.
add_method(
    "hypernoise",
    target="hypernoise.methods.hypernoise:HyperNoise",
    trains="hypernoise",
    version=1,
)
