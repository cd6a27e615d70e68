# Four of T2I-CompBench's prompts that no training saw, as in the paper's figures 3 and 4: rewards are
# all that is measured.
add_benchmark(
    "redness_prompts",
    target="harness.benchmarks.prompts:PromptList",
    prompts={
        "target": "harness.benchmarks.prompts:subset",
        "of": "harness.benchmarks.training_prompts:t2i_compbench",
        "n": 4,
        "split": "val",
    },
    n_images=1,
    version=1,
)
