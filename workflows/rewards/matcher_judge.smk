# A matcher with another seed, size and training set: it judges what the first one was hacked for.
add_reward(
    "matcher_judge",
    target="hypernoise.rewards.matcher:ShapeMatcher",
    weights="hypernoise/shapeworld/weights/matcher_judge.safetensors",
    version=1,
)
