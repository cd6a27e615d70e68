# ReNO along the reward's gradient projected to white noise (arXiv 2602.08646), without regularizer.
WHITE_RENO = dict(
    target="hypernoise.methods.reno:Reno",
    iterations=50,
    momentum=0.9,
    grad_clip=0.1,
    regularization=0.0,
    white_gradient=True,
    needs_reward=True,
    version=1,
)
add_method("white_reno", learning_rate=5.0, **WHITE_RENO)

# What `snakemake white_reno_sweep` chooses from.
for rate in ("0.1", "0.3", "1.0", "3.0"):
    name = f"white_reno_lr_{rate.replace('.', '_')}"
    add_method(name, learning_rate=float(rate), **WHITE_RENO)
