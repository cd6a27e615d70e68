# GenEval as published. The commit of the detector's repository could not be confirmed: add
# "detector_revision" with the one that you trust, or name the folder of a local copy. The colour
# classifier's file is that of the reward "aesthetic".
add_benchmark(
    "geneval",
    target="harness.benchmarks.geneval_coco:prompts",
    scorer="harness.benchmarks.geneval_coco:score",
    scorer_arguments={
        "detector": "facebook/mask2former-swin-small-coco-instance",
        "clip": "hf://timm/vit_large_patch14_clip_224.openai@18d0535469bb561bf468d76c1d73aa35156c922b/"
        "open_clip_model.safetensors"
        "#sha256=9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
    },
    metric="geneval_correct",
    n_images=4,
    version=1,
)
