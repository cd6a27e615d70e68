# A small network of its own that moves the noise's low frequencies only (after LENS).
add_method(
    "low_frequency",
    target="hypernoise.methods.hypernoise:HyperNoise",
    trains="low_frequency",
    version=1,
)
