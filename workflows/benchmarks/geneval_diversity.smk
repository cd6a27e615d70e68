# GenEval's prompts with the paper's 50 images of each, to compare with one another.
add_benchmark(
    "geneval_diversity",
    target="harness.benchmarks.prompts:PromptList",
    prompts={"target": "harness.benchmarks.geneval_coco:prompts"},
    n_images=50,
    version=1,
)
