# Half of shapeworld's images of each caption, from the same noises: for comparisons that cost much.
add_benchmark(
    "shapeworld_half",
    target="hypernoise.shapeworld.captions:captions",
    split="evaluation",
    scorer="harness.benchmarks.shapeworld:score",
    metric="geneval_correct",
    n_images=2,
    version=1,
)
