# Search without gradients (Ma et al., arXiv 2501.09732), at Best-of-50's cost: 1 + 7 x 7 images.
ZERO_ORDER = dict(
    target="hypernoise.methods.local_search:LocalSearch",
    neighbors=7,
    rounds=7,
    needs_reward=True,
    version=1,
)
add_method("zero_order", similarity=0.95, **ZERO_ORDER)

# What `snakemake zero_order_sweep` chooses from: the cosine between a noise and its neighbours.
for similarity in ("0.6", "0.8", "0.95"):
    add_method(
        f"zero_order_{similarity.replace('.', '_')}", similarity=float(similarity), **ZERO_ORDER
    )
