# Many images of each evaluation caption, to compare with one another.
add_benchmark(
    "shapeworld_diversity",
    target="harness.benchmarks.prompts:PromptList",
    prompts={"target": "hypernoise.shapeworld.captions:captions", "split": "evaluation"},
    n_images=16,
    version=1,
)
