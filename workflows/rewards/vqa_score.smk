# VQAScore: the probability of "Yes" when a model that sees is asked for the prompt. It reads prompts of any
# length; vqa_score has a gradient, vqa_judge is P(yes | yes or no), for any answerer.
VQA_ANSWERER = {
    "target": "harness.benchmarks.vlm:Vlm",
    "weights": "Qwen/Qwen3-VL-8B-Instruct",
    "revision": "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
}
add_reward(
    "vqa_score",
    target="harness.benchmarks.vqa_score:VqaScore",
    answerer={**VQA_ANSWERER, "instruction": ""},
    version=1,
)
add_reward(
    "vqa_judge",
    target="harness.benchmarks.vqa_score:VqaJudge",
    answerer=VQA_ANSWERER,
    version=1,
)
