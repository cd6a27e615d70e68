# SANA-Sprint's family, small: a linear transformer behind a stock SanaSprintPipeline.
add_model(
    "tiny_sana",
    target="hypernoise.models.sana:SanaSprint",
    weights="hypernoise/shapeworld/weights/tiny_sana",
    size_px=32,
    steps=1,
    max_tokens=16,
    human_instruction=False,
    intermediate_timestep=0.4,
    version=2,
)
