# HPSv2.0, what published HPSv2 numbers before 2024 mean. The hash of its file could not be confirmed:
# `python -m harness pin` asks for it; or add "#sha256=..." yourself, or name a local copy.
add_reward(
    "hpsv2_0",
    target="hypernoise.rewards.hpsv2:HPSv2",
    weights="hf://xswu/HPSv2@697403c78157020a1ae59d23f111aa58ced35b0a/HPS_v2_compressed.pt",
    version=1,
)
