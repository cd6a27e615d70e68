# Qwen-Image-Lightning: 20 billion parameters with a LoRA that is distilled for four or for eight steps.
# Apache-2.0, not gated.
LORAS = {
    4: "4steps-V1.0-bf16.safetensors"
    "#sha256=3ac242b4ff22f62f3bf195b927ba6d23ce23f08f320b24ccca94fb90ecdf8c84",
    8: "8steps-V1.1-bf16.safetensors"
    "#sha256=fe04c3ec1dd46f361fe29010027da4168c439f93143879731ca8d407935279c8",
}
for n_steps, lora in LORAS.items():
    add_model(
        f"qwen_image_lightning_{n_steps}steps",
        target="hypernoise.models.qwen_image:QwenImage",
        weights="Qwen/Qwen-Image",
        revision="75e0b4be04f60ec59a75f475837eced720f823b6",
        lora="hf://lightx2v/Qwen-Image-Lightning@598f480df90fecf09ad80b4e8550b7757bf1d583"
        f"/Qwen-Image-Lightning-{lora}",
        scheduler="flow_shift_3",
        architecture="qwen_image",
        encodings="results/encodings",
        dtype="bfloat16",
        size_px=1024,
        steps=n_steps,
        max_tokens=512,
        vae_savings=["slicing"],
        version=1,
    )
