# A network of another kind, trained on drawn scenes and what was drawn, with captions that the matcher
# never read: it judges what the matcher was hacked for.
add_reward(
    "matcher_judge",
    target="hypernoise.rewards.matcher:ShapeMatcher",
    weights="hypernoise/shapeworld/weights/matcher_judge.safetensors",
    version=2,
)
