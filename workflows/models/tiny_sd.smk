# SD-Turbo's family, small: a UNet behind a stock StableDiffusionPipeline.
add_model(
    "tiny_sd",
    target="hypernoise.models.unet:SdTurbo",
    weights="hypernoise/shapeworld/weights/tiny_sd",
    size_px=32,
    steps=1,
    version=2,
)
