# T2I-CompBench's colour, shape and texture (task), by BLIP-VQA. The hash of BLIP's checkpoint could
# not be confirmed: `python -m harness pin` asks for it; or add "#sha256=..." yourself, or name a copy.
add_benchmark(
    "t2i_compbench",
    target="harness.benchmarks.compbench:CompBench",
    prompts={"target": "harness.benchmarks.compbench:prompts", "split": "val"},
    answerer={
        "target": "harness.benchmarks.blip_vqa:BlipVqa",
        "weights": "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/"
        "model_base_vqa_capfilt_large.pth",
        "vocabulary": "hf://google-bert/bert-base-uncased@"
        "86b5e0934494bd15c9632b12f734a8a67f723594/vocab.txt"
        "#sha256=07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    metric="t2i_compbench",
    n_images=10,
    version=1,
)
