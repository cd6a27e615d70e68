# Many images of each evaluation caption, to compare with one another.
add_benchmark(
    "shapeworld_diversity",
    target="harness.benchmarks.prompts:PromptList",
    prompts={
        "target": "harness.benchmarks.prompts:subset",
        "of": "hypernoise.shapeworld.captions:captions",
        "n": 96,
        "split": "evaluation",
    },
    n_images=16,
    version=2,
)
