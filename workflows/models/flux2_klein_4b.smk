# FLUX.2-klein-4B: a rectified-flow transformer distilled for four steps. Apache-2.0, not gated.
add_model(
    "flux2_klein_4b",
    target="hypernoise.models.flux2:Flux2Klein",
    weights="black-forest-labs/FLUX.2-klein-4B",
    revision="e7b7dc27f91deacad38e78976d1f2b499d76a294",
    architecture="flux2_klein_4b",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=4,
    max_tokens=512,
    vae_savings=["slicing"],
    version=1,
)
