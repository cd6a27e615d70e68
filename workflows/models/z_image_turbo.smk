# Z-Image-Turbo: a transformer over one stream of tokens, distilled for eight steps. Apache-2.0.
add_model(
    "z_image_turbo",
    target="hypernoise.models.z_image:ZImageTurbo",
    weights="Tongyi-MAI/Z-Image-Turbo",
    revision="f332072aa78be7aecdf3ee76d5c247082da564a6",
    architecture="z_image_turbo",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=8,
    max_tokens=512,
    vae_savings=["slicing"],
    version=1,
)
