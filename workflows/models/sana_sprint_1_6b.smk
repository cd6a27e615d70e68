# SANA-Sprint 1.6B: the larger one-step linear transformer.
add_model(
    "sana_sprint_1_6b",
    target="hypernoise.models.sana:SanaSprint",
    weights="Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers",
    revision="19683c58b7ea290e55cedd8950ae1d86ada7ef96",
    architecture="sana_sprint_1.6b",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=1,
    guidance=4.5,
    max_tokens=300,
    human_instruction=True,
    # In training its decoder holds 7 GiB for an image: so not for a whole batch at once (docs/memory.md).
    vae_savings=["slicing"],
    version=1,
)
