# The best of N images by the reward, with the paper's N.
add_method(
    "best_of_n",
    target="hypernoise.methods.best_of_n:BestOfN",
    n=50,
    batch_size=64,
    needs_reward=True,
    version=1,
)
