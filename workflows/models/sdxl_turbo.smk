# SDXL-Turbo: a large one-step UNet. Beyond the paper.
add_model(
    "sdxl_turbo",
    target="hypernoise.models.sdxl:SdxlTurbo",
    weights="stabilityai/sdxl-turbo",
    revision="71153311d3dbb46851df1931d3ca6e939de83304",
    architecture="sdxl_turbo",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=512,
    steps=1,
    version=1,
)
