# GenEval 2's protocol in the embedded world: every atom of a caption, counts of one included.
add_benchmark(
    "shapeworld_geneval2",
    target="harness.benchmarks.geneval2:GenEval2",
    prompts={"target": "harness.benchmarks.shapeworld_questions:geneval2", "split": "evaluation"},
    answerer={"target": "harness.benchmarks.shapeworld_questions:DetectorAnswerer"},
    metric="geneval2",
    n_images=2,
    version=2,
)
