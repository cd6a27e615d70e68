# GenEval's verdict of the embedded world itself, without a gradient: `noise_policy` trains on it, searches
# without gradients maximise it. What it is raised on is then no measure of the result.
add_reward(
    "shapeworld_verdict",
    target="harness.benchmarks.verdict:Verdict",
    benchmark={"target": "harness.benchmarks.shapeworld:ShapeWorld"},
    prompts=[
        {"target": "hypernoise.shapeworld.captions:captions", "split": split}
        for split in ("train", "validation", "evaluation")
    ],
    version=1,
)
