# SD3.5-Turbo: a large transformer distilled for four steps. Only drawn from, beside the paper's models
# (figure 5). Gated: its terms have to be accepted in the hub.
add_model(
    "sd3_5_large_turbo",
    target="hypernoise.models.sd3:Sd3Turbo",
    weights="stabilityai/stable-diffusion-3.5-large-turbo",
    revision="ec07796fc06b096cc56de9762974a28f4c632eda",
    architecture="sd3.5_large_turbo",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=4,
    max_tokens=256,
    version=1,
)
