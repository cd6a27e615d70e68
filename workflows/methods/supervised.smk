# A noise network that learns from pairs of a noise and the better one of a search (after Golden Noise and
# NoiseRefine). The training option `distil_teacher` says which search.
add_method(
    "supervised",
    target="hypernoise.methods.hypernoise:HyperNoise",
    trains="supervised",
    version=1,
)
