# ReNO from the trained noise network's noise, with the settings of `reno`.
add_method(
    "hypernoise_reno",
    target="hypernoise.methods.warm_start:WarmStart",
    trains="hypernoise",
    search="reno",
    needs_reward=True,
    version=1,
)
