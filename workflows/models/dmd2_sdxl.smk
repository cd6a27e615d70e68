# DMD2-SDXL: SDXL with a LoRA that is distilled for four steps at fixed timesteps. Non-commercial.
add_model(
    "dmd2_sdxl",
    target="hypernoise.models.sdxl:SdxlTurbo",
    weights="stabilityai/stable-diffusion-xl-base-1.0",
    revision="462165984030d82259a11f4367a4eed129e94a7b",
    lora="hf://tianweiy/DMD2@be22767697a1f3ca656b73c776e15fa335c86c6c"
    "/dmd2_sdxl_4step_lora_fp16.safetensors"
    "#sha256=b3d9173815a4b595991c3a7a0e0e63ad821080f314a0b2a3cc31ecd7fcf2cbb8",
    scheduler="lcm",
    timesteps=[999, 749, 499, 249],
    architecture="sdxl_base",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=4,
    vae_savings=["slicing"],
    version=1,
)
