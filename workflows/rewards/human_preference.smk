# The paper's reward, with ReNO's weights.
add_reward(
    "human_preference",
    target="hypernoise.rewards.ensemble:Ensemble",
    parts={"hpsv2_1": 5.0, "imagereward": 1.0, "pickscore": 0.05, "clip_score": 0.01},
    version=1,
)
