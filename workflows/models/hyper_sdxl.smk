# Hyper-SDXL, a comparison of table 1: SDXL with the unified LoRA for one to eight steps. TCD draws all of
# a step's noise anew.
add_model(
    "hyper_sdxl",
    target="hypernoise.models.sdxl:SdxlTurbo",
    weights="stabilityai/stable-diffusion-xl-base-1.0",
    revision="462165984030d82259a11f4367a4eed129e94a7b",
    lora="hf://ByteDance/Hyper-SD@bc08d970a87c74c71209491d64e3525845698863"
    "/Hyper-SDXL-1step-lora.safetensors"
    "#sha256=c912df184c5116792d2c604d26c6bc2aa916685f4a793755255cda1c43a3c78a",
    scheduler="tcd",
    eta=1.0,
    architecture="sdxl_base",
    encodings="results/encodings",
    dtype="bfloat16",
    size_px=1024,
    steps=1,
    vae_savings=["slicing"],
    version=1,
)
