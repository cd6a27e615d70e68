# As zero_order, but a noise that no neighbour improves on is left for fresh ones.
add_method(
    "random_restart",
    target="hypernoise.methods.local_search:LocalSearch",
    neighbors=7,
    rounds=7,
    similarity=0.95,
    restart=True,
    needs_reward=True,
    version=1,
)
