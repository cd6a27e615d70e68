# Spectral evolution search (arXiv 2602.03208): the cross-entropy method on the lowest Haar band of the
# noise, with the settings of DiffSynth-Studio, at Best-of-50's cost.
add_method(
    "spectral_evolution",
    target="hypernoise.methods.spectral_evolution:SpectralEvolution",
    n=50,
    population=10,
    elites=5,
    levels=4,
    batch_size=64,
    needs_reward=True,
    version=1,
)
