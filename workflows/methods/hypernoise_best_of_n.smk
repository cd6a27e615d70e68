# Best-of-N over the trained noise network's images, with the settings of `best_of_n`.
add_method(
    "hypernoise_best_of_n",
    target="hypernoise.methods.warm_start:warm_best_of_n",
    trains="hypernoise",
    search="best_of_n",
    needs_reward=True,
    version=1,
)
