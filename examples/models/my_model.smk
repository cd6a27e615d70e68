# A model of a known family: its weights as a diffusers folder.
add_model(
    "my_model",
    target="hypernoise.models.unet:SdTurbo",
    weights="hypernoise/shapeworld/weights/tiny_sd",
    size_px=32,
    version=1,
)
