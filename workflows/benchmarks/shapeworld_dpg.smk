# DPG-Bench's protocol in the embedded world: captions as graphs of propositions.
add_benchmark(
    "shapeworld_dpg",
    target="harness.benchmarks.dpg:DpgBench",
    prompts={"target": "harness.benchmarks.shapeworld_questions:dpg", "split": "evaluation"},
    answerer={"target": "harness.benchmarks.shapeworld_questions:DetectorAnswerer"},
    metric="dpg_bench",
    n_images=2,
    version=3,
)
