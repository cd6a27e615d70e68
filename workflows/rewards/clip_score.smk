# CLIPScore of LAION's ViT-H/14.
add_reward(
    "clip_score",
    target="hypernoise.rewards.clip_score:ClipScore",
    weights="hf://laion/CLIP-ViT-H-14-laion2B-s32B-b79K@1c2b8495b28150b8a4922ee1c8edee224c284c0c/"
    "open_clip_model.safetensors"
    "#sha256=0084e75319a50ad85ef45377bad5bc38f2f58824459eb690048d51c9f8863be5",
    version=1,
)
