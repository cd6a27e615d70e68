# SDXL-Lightning: SDXL with a LoRA that is distilled for four steps of Euler at trailing timesteps.
add_model(
    "sdxl_lightning",
    target="hypernoise.models.sdxl:SdxlTurbo",
    weights="stabilityai/stable-diffusion-xl-base-1.0",
    revision="462165984030d82259a11f4367a4eed129e94a7b",
    lora="hf://ByteDance/SDXL-Lightning@c9a24f48e1c025556787b0c58dd67a091ece2e44"
    "/sdxl_lightning_4step_lora.safetensors"
    "#sha256=bf56cf2657efb15e465d81402ed481d1e11c4677e4bcce1bc11fe71ad8506b79",
    scheduler="euler_trailing",
    architecture="sdxl_base",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=4,
    vae_savings=["slicing"],
    version=1,
)
