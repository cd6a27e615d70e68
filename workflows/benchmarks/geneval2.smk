# GenEval 2 (Soft-TIFA GM), data under CC BY-NC 4.0. The commit is the one that public repositories
# recorded of the model that the authors ask; which one they asked is not published.
add_benchmark(
    "geneval2",
    target="harness.benchmarks.geneval2:GenEval2",
    prompts={"target": "harness.benchmarks.geneval2:prompts"},
    answerer={
        "target": "harness.benchmarks.vlm:Vlm",
        "weights": "Qwen/Qwen3-VL-8B-Instruct",
        "revision": "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
    },
    metric="geneval2",
    n_images=1,
    version=1,
)
