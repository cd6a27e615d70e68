# T2I-CompBench's protocol in the embedded world: colours and shapes, asked from its detector.
add_benchmark(
    "shapeworld_compbench",
    target="harness.benchmarks.compbench:CompBench",
    prompts={"target": "harness.benchmarks.shapeworld_questions:compbench", "split": "evaluation"},
    answerer={"target": "harness.benchmarks.shapeworld_questions:DetectorAnswerer"},
    metric="t2i_compbench",
    n_images=2,
    version=2,
)
