# GenEval 2 (Soft-TIFA GM), data under CC BY-NC 4.0. The commit of the model that the authors ask
# could not be confirmed: add "revision" with the one that you trust, or name a local copy.
add_benchmark(
    "geneval2",
    target="harness.benchmarks.geneval2:prompts",
    scorer="harness.benchmarks.geneval2:score",
    scorer_arguments={
        "answerer": {
            "target": "harness.benchmarks.vlm:Vlm",
            "weights": "Qwen/Qwen3-VL-8B-Instruct",
        }
    },
    metric="geneval2",
    n_images=1,
    version=1,
)
