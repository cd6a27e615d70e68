# GenEval's protocol on captions that nothing was trained on: what is reported.
add_benchmark(
    "shapeworld",
    target="hypernoise.shapeworld.captions:captions",
    split="evaluation",
    scorer="harness.benchmarks.shapeworld:score",
    metric="geneval_correct",
    n_images=4,
    version=1,
)
