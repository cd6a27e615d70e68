# FLUX.1-schnell at 512 px, as in the paper. Gated: its terms have to be accepted in the hub.
add_model(
    "flux_schnell",
    target="hypernoise.models.flux:FluxSchnell",
    weights="black-forest-labs/FLUX.1-schnell",
    revision="741f7c3ce8b383c54771c7003378a50191e9efe9",
    architecture="flux_schnell",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=512,
    steps=4,
    max_tokens=256,
    version=1,
)
