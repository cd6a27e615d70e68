# HPSv2's benchmark: 800 prompts in each of four styles. Its score is the reward hpsv2_1, so the config
# names it: `judges: {hpsv2_1: hpsv2_1}`.
add_benchmark(
    "hpsv2",
    target="harness.benchmarks.prompts:PromptList",
    prompts={"target": "harness.benchmarks.hpsv2:prompts"},
    n_images=1,
    version=1,
)
