# Text that is read in images, with prompts of the project's own. `pip install 'hypernoise[ocr]'`, which there
# is for Python up to 3.12.
add_benchmark(
    "text_rendering",
    target="harness.benchmarks.text_rendering:TextRendering",
    prompts={"target": "harness.benchmarks.text_rendering:prompts"},
    metric="text_rendering",
    n_images=4,
    version=1,
)
