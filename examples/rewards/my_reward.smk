# A reward of one's own: how blue an image is.
add_reward("my_reward", target="my_package.rewards:Blueness", version=1)
# A weighted sum of others names them.
add_reward(
    "my_sum",
    target="hypernoise.rewards.ensemble:Ensemble",
    parts={"matcher": 1.0, "my_reward": 0.5},
    version=1,
)
