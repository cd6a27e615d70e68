# PickScore. The hash of its file could not be confirmed: `python -m harness pin` asks for it; or add
# "#sha256=..." yourself, or name a local copy.
add_reward(
    "pickscore",
    target="hypernoise.rewards.pickscore:PickScore",
    weights="hf://yuvalkirstain/PickScore_v1@a4e4367c6dfa7288a00c550414478f865b875800/"
    "model.safetensors",
    version=1,
)
