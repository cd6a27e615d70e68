# A file of prompts and questions as a benchmark, without any code: how sure the answerer is of the right
# answers. Here it is the embedded world's detector; harness.benchmarks.vlm:Vlm answers about any image.
add_benchmark(
    "my_questions",
    target="harness.benchmarks.question_list:QuestionList",
    prompts={
        "target": "harness.benchmarks.question_list:prompts",
        "questions": "benchmarks/my_questions.jsonl",
    },
    answerer={"target": "harness.benchmarks.shapeworld_questions:DetectorAnswerer"},
    metric="question_list",
    n_images=4,
    version=1,
)
