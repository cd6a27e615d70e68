# Gradient ascent on one image's noise, with the published settings; the step size is everything, so
# a config can set it.
RENO = dict(
    target="hypernoise.methods.reno:Reno",
    iterations=50,
    momentum=0.9,
    grad_clip=0.1,
    regularization=0.01,
    needs_reward=True,
    version=1,
)
add_method("reno", learning_rate=5.0, **RENO)

# For sweeps: `snakemake reno_sweep` compares some of them.
for rate in ("0.02", "0.05", "0.1", "0.3", "1.0", "5.0"):
    add_method(f"reno_lr_{rate.replace('.', '_')}", learning_rate=float(rate), **RENO)
