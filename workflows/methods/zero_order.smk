# Search without gradients (Ma et al., arXiv 2501.09732), at Best-of-50's cost: 1 + 7 x 7 images.
# `snakemake zero_order_sweep` compares similarities: the cosine between a noise and its neighbours.
add_method(
    "zero_order",
    target="hypernoise.methods.local_search:LocalSearch",
    neighbors=7,
    rounds=7,
    similarity=0.95,
    needs_reward=True,
    version=1,
)
