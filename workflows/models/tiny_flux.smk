# FLUX.1-schnell's family, small: a transformer over packed latents behind a stock FluxPipeline.
add_model(
    "tiny_flux",
    target="hypernoise.models.flux:FluxSchnell",
    weights="hypernoise/shapeworld/weights/tiny_flux",
    size_px=32,
    steps=1,
    max_tokens=16,
    version=2,
)
