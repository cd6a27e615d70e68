# Gradient ascent on one image's noise, with the published settings; the step size is everything, so
# a config can set it, and `snakemake reno_sweep` compares some.
add_method(
    "reno",
    target="hypernoise.methods.reno:Reno",
    iterations=50,
    learning_rate=5.0,
    momentum=0.9,
    grad_clip=0.1,
    regularization=0.01,
    needs_reward=True,
    version=1,
)
