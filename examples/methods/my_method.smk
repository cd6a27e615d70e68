# A method of one's own: a known search with another argument.
add_method(
    "best_of_8",
    target="hypernoise.methods.best_of_n:BestOfN",
    n=8,
    needs_reward=True,
    version=1,
)
