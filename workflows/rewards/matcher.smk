# The image-text matcher that methods train on and search.
add_reward(
    "matcher",
    target="hypernoise.rewards.matcher:ShapeMatcher",
    weights="hypernoise/shapeworld/weights/matcher.safetensors",
    version=2,
)
