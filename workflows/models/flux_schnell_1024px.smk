# FLUX.1-schnell at its full resolution.
add_model(
    "flux_schnell_1024px",
    target="hypernoise.models.flux:FluxSchnell",
    weights="black-forest-labs/FLUX.1-schnell",
    revision="741f7c3ce8b383c54771c7003378a50191e9efe9",
    architecture="flux_schnell",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=4,
    max_tokens=256,
    vae_savings=["slicing"],
    version=1,
)
