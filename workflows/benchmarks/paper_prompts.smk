# The prompts that the paper prints whole, by figure; those of redness are figures 3 and 4's, which no
# training saw. Rewards are all that is measured.
for place in ("redness", "figure1", "figure5", "figure6", "figure7"):
    add_benchmark(
        f"{place}_prompts",
        target="harness.benchmarks.prompts:PromptList",
        prompts={"target": "harness.benchmarks.paper_prompts:printed", "place": place},
        n_images=1,
        version=2,
    )
