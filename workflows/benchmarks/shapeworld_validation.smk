# The same on the captions that hyper-parameters are chosen on.
add_benchmark(
    "shapeworld_validation",
    target="hypernoise.shapeworld.captions:captions",
    split="validation",
    scorer="harness.benchmarks.shapeworld:score",
    metric="geneval_correct",
    n_images=4,
    version=1,
)
