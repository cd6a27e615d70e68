# DPG-Bench as the published scorer counts. Name the model that answers and its commit: no answerer
# is a default, since the authors' mPLUG is not in transformers. The question table's hash could not
# be confirmed: put dpg_bench/dpg_bench.csv into the data folder. Or let `python -m harness pin` pin both.
add_benchmark(
    "dpg_bench",
    target="harness.benchmarks.dpg:prompts",
    variant="published",
    scorer="harness.benchmarks.dpg:score",
    scorer_arguments={
        "answerer": {
            "target": "harness.benchmarks.vlm:Vlm",
            "weights": "Qwen/Qwen2.5-VL-7B-Instruct",
        }
    },
    metric="dpg_bench",
    n_images=4,
    version=1,
)
