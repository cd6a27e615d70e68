# LCM-LoRA: SDXL with the LoRA of latent consistency, for two to eight steps.
add_model(
    "lcm_lora_sdxl",
    target="hypernoise.models.sdxl:SdxlTurbo",
    weights="stabilityai/stable-diffusion-xl-base-1.0",
    revision="462165984030d82259a11f4367a4eed129e94a7b",
    lora="hf://latent-consistency/lcm-lora-sdxl@a18548dd4956b174ec5b0d78d340c8dae0a129cd"
    "/pytorch_lora_weights.safetensors"
    "#sha256=a764e6859b6e04047cd761c08ff0cee96413a8e004c9f07707530cd776b19141",
    scheduler="lcm",
    architecture="sdxl_base",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=4,
    vae_savings=["slicing"],
    version=1,
)
