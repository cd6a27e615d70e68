# Feynman-Kac steering with the paper's strength, potential and number of particles; resampled after
# every step, since the models here have few.
add_method(
    "fk_steering",
    target="hypernoise.methods.fk_steering:FkSteering",
    n=4,
    strength=10.0,
    potential="max",
    resample_every=1,
    eta=1.0,
    batch_size=64,
    needs_reward=True,
    version=1,
)
