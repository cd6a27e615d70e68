# SD-Turbo: a one-step UNet.
add_model(
    "sd_turbo",
    target="hypernoise.models.unet:SdTurbo",
    weights="stabilityai/sd-turbo",
    revision="b261bac6fd2cf515557d5d0707481eafa0485ec2",
    architecture="sd_turbo",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=512,
    steps=1,
    version=1,
)
