# PixArt-alpha-DMD: a transformer distilled for one step. Beyond the paper.
add_model(
    "pixart_alpha_dmd",
    target="hypernoise.models.pixart:PixartDmd",
    weights="PixArt-alpha/PixArt-XL-2-1024-MS",
    revision="b89adadeccd9ead2adcb9fa2825d3fabec48d404",
    distilled="PixArt-alpha/PixArt-Alpha-DMD-XL-2-512x512",
    distilled_revision="57df7bb32daad69bc1d6c825a275935113802169",
    architecture="pixart_alpha_dmd",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=512,
    steps=1,
    max_tokens=120,
    timestep=400,
    version=1,
)
