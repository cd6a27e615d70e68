# DPG-Bench with every proposition of the question table, and failures that reach all descendants.
# What dpg_bench.smk says about the answerer and the table holds here too.
add_benchmark(
    "dpg_bench_corrected",
    target="harness.benchmarks.dpg:prompts",
    variant="corrected",
    scorer="harness.benchmarks.dpg:score",
    scorer_arguments={
        "answerer": {
            "target": "harness.benchmarks.vlm:Vlm",
            "weights": "Qwen/Qwen2.5-VL-7B-Instruct",
        }
    },
    metric="dpg_bench_corrected",
    n_images=4,
    version=1,
)
