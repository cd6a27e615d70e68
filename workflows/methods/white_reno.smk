# ReNO along the reward's gradient projected to white noise, without regularizer: arXiv 2602.08646 in its
# versions 2 and 3. Version 1 projects the noise instead: `white_reno:white_gradient=false,white_noise=true`.
# `snakemake white_reno_sweep` compares step sizes, `snakemake tuning` both versions.
add_method(
    "white_reno",
    target="hypernoise.methods.reno:Reno",
    iterations=50,
    learning_rate=5.0,
    momentum=0.9,
    grad_clip=0.1,
    regularization=0.0,
    white_gradient=True,
    needs_reward=True,
    version=1,
)
