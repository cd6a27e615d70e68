# GenEval as published. The commit of the detector's repository could not be confirmed: `python -m harness
# pin` asks for it; or add detector_revision="...", or name the folder of a local copy
# as "detector". The other defaults are in harness/benchmarks/geneval_coco.py.
add_benchmark(
    "geneval",
    target="harness.benchmarks.geneval_coco:GenEval",
    metric="geneval_correct",
    n_images=4,
    version=1,
)
