# SD3.5-medium-turbo: TensorArt's distillation of SD3.5-medium, drawn here without guidance in four steps.
add_model(
    "sd3_5_medium_turbo",
    target="hypernoise.models.sd3:Sd3Turbo",
    weights="tensorart/stable-diffusion-3.5-medium-turbo",
    revision="5dca883e959f4399569c63fa8ffa3954bfdd4206",
    architecture="sd3.5_medium_turbo",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=4,
    max_tokens=256,
    vae_savings=["slicing"],
    version=1,
)
