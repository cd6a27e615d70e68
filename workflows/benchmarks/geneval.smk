# GenEval as published. The commit of the detector's repository could not be confirmed: add
# "detector_revision" with the one that you trust, or name a local copy.
add_benchmark(
    "geneval",
    target="harness.benchmarks.geneval_coco:prompts",
    scorer="harness.benchmarks.geneval_coco:score",
    scorer_arguments={"detector": "facebook/mask2former-swin-small-coco-instance"},
    metric="geneval_correct",
    n_images=4,
    version=1,
)
