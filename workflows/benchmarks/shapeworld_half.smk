# Half of shapeworld's images of each caption, from the same noises: for comparisons that cost much.
add_benchmark(
    "shapeworld_half",
    target="harness.benchmarks.shapeworld:ShapeWorld",
    split="evaluation",
    metric="geneval_correct",
    n_images=2,
    version=2,
)
