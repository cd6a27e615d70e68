# HPSv2.1, the largest part of the paper's reward.
add_reward(
    "hpsv2_1",
    target="hypernoise.rewards.hpsv2:HPSv2",
    weights="hf://xswu/HPSv2@697403c78157020a1ae59d23f111aa58ced35b0a/HPS_v2.1_compressed.pt"
    "#sha256=c57a38fb4a2f7e7c15bf00da2ea377cdf165448b4dd1052a484c215a998c9837",
    version=1,
)
