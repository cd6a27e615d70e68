# It finds objects and reads captions by rules; it was trained on drawn pictures and what was drawn, never
# on captions or images of generators. It judges what the matcher was hacked for.
add_reward(
    "matcher_judge",
    target="hypernoise.rewards.shape_judge:ShapeJudge",
    weights="hypernoise/shapeworld/weights/matcher_judge.safetensors",
    version=2,
)
