# The same on the captions that hyper-parameters are chosen on.
add_benchmark(
    "shapeworld_validation",
    target="harness.benchmarks.shapeworld:ShapeWorld",
    split="validation",
    metric="geneval_correct",
    n_images=4,
    version=2,
)
