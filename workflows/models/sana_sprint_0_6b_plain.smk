# SANA-Sprint 0.6B with prompts as they are, which is how the authors of HyperNoise train and draw.
add_model(
    "sana_sprint_0_6b_plain",
    target="hypernoise.models.sana:SanaSprint",
    weights="Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers",
    revision="a7d9fc31dd5c3f5e22dbfd78360777ceed56ae97",
    architecture="sana_sprint_0.6b",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=1,
    guidance=4.5,
    max_tokens=300,
    human_instruction=False,
    # In training its decoder holds 7 GiB for an image: so not for a whole batch at once (docs/memory.md).
    vae_savings=["slicing"],
    version=1,
)
