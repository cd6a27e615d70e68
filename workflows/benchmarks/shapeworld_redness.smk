# Four captions that no training saw, to look at images that were trained towards redness: rewards
# are all that is measured.
add_benchmark(
    "shapeworld_redness",
    target="harness.benchmarks.prompts:PromptList",
    prompts={
        "target": "harness.benchmarks.prompts:subset",
        "of": "hypernoise.shapeworld.captions:captions",
        "n": 4,
        "split": "validation",
    },
    n_images=1,
    version=2,
)
