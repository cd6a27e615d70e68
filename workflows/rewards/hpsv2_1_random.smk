# HPSv2.1's network with random weights: costs what HPSv2.1 costs, judges nothing. For timings only.
add_reward(
    "hpsv2_1_random",
    target="hypernoise.rewards.hpsv2:HPSv2",
    weights="random",
    version=1,
)
