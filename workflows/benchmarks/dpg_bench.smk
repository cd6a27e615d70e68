# DPG-Bench. Every answer is counted twice: as the published scorer does, dpg_bench, and without its
# faults, dpg_bench_corrected; tables show the one named as "metric". Name the model that answers and
# its commit: no answerer is a default, since the authors' mPLUG is not in transformers. The question
# table's hash could not be confirmed: put dpg_bench/dpg_bench.csv into the data folder. Or let
# `python -m harness pin` pin both.
add_benchmark(
    "dpg_bench",
    target="harness.benchmarks.dpg:DpgBench",
    prompts={"target": "harness.benchmarks.dpg:prompts"},
    answerer={
        "target": "harness.benchmarks.vlm:Vlm",
        "weights": "Qwen/Qwen2.5-VL-7B-Instruct",
    },
    metric="dpg_bench",
    n_images=4,
    version=2,
)
