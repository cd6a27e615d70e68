# LAION's aesthetic predictor (V2) on OpenAI's CLIP ViT-L/14.
add_reward(
    "aesthetic",
    target="hypernoise.rewards.aesthetic:Aesthetic",
    weights="hf://timm/vit_large_patch14_clip_224.openai@18d0535469bb561bf468d76c1d73aa35156c922b/"
    "open_clip_model.safetensors"
    "#sha256=9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
    head="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/"
    "6934dd81792f086e613a121dbce43082cb8be85e/sac%2Blogos%2Bava1-l14-linearMSE.pth"
    "#sha256=21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    version=1,
)
