# GenEval's protocol on captions that nothing was trained on: what is reported.
add_benchmark(
    "shapeworld",
    target="harness.benchmarks.shapeworld:ShapeWorld",
    split="evaluation",
    metric="geneval_correct",
    n_images=4,
    version=2,
)
