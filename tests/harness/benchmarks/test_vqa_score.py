"""VQAScore on small random models that see, and on the embedded world's detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paths import REPOSITORY
from PIL import Image

from harness.base.errors import SpecError
from harness.benchmarks.vqa_score import QUESTION, VqaJudge, VqaScore
from harness.build.rewards import check_gradient, check_reward
from harness.experiment.component_files import declared
from hypernoise.shapeworld.scenes import Placed, Scene, render_batch
from hypernoise.weights.small_vlm import lay_small

DECLARED = declared(REPOSITORY / "workflows")
VLM = "harness.benchmarks.vlm:Vlm"
#: Far more than CLIP's 77 tokens, which the last word must not be lost behind.
LONG = " ".join(["a quiet street in the rain"] * 40)


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl", "qwen3_vl"])
def reward(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VqaScore:
    folder = tmp_path_factory.mktemp("vlm")
    torch.manual_seed(0)
    lay_small(folder, request.param)
    return VqaScore(answerer(folder))


def answerer(folder: Path, **given: Any) -> dict[str, Any]:
    one = {"target": VLM, "weights": str(folder), "dtype": "float32", "device": "cpu"}
    return {**one, "instruction": "", "batch_size": 2, **given}


def pixels(n: int) -> torch.Tensor:
    """Images that no processor here resizes: [n, 3, 56, 56], of 8-bit values."""
    made = torch.randint(0, 256, (n, 3, 56, 56), generator=torch.Generator().manual_seed(0))
    return made.float() / 255


def test_a_gradient_reaches_every_image_and_its_own_score_alone(reward: VqaScore) -> None:
    images = pixels(3).requires_grad_()
    scores = reward.score(images, reward.encode(["a cat", "a dog", "a much longer prompt"]))
    assert scores.shape == (3,) and 0 < scores.min().item() < scores.max().item() < 1
    (slope,) = torch.autograd.grad(scores[2], images)
    norms = slope.flatten(1).norm(dim=1).tolist()
    assert norms[:2] == [0, 0] and norms[2] > 0
    alone = reward.score(images[:1], reward.encode(["a cat"]))
    torch.testing.assert_close(alone, scores[:1], atol=1e-6, rtol=1e-4)


def test_a_long_prompt_is_read_to_its_last_word(reward: VqaScore) -> None:
    images = pixels(1).expand(2, -1, -1, -1)
    one, other = reward.score(images, reward.encode([f"{LONG} cat", f"{LONG} dog"])).tolist()
    assert one != pytest.approx(other, rel=1e-6)


def test_the_score_is_t2v_metrics_of_transformers_own_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    lay_small(tmp_path, "qwen2_5_vl")
    ours = VqaScore(answerer(tmp_path))
    images, prompt = pixels(1), 'a {sign} that says "OPEN"'
    image = Image.fromarray((images[0] * 255).numpy().astype(np.uint8).transpose(1, 2, 0))
    vlm: Any = ours.answerer
    processor, network = vlm._processor, vlm._network
    asked = {"type": "text", "text": QUESTION.replace("{}", prompt)}
    chat = [{"role": "user", "content": [{"type": "image"}, asked]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    inputs = processor(images=[image], text=[text], return_tensors="pt")
    made = network.generate(
        **inputs,
        max_new_tokens=1,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    yes = processor.tokenizer.encode("Yes", add_special_tokens=False)[0]
    expected = float(made.scores[0].softmax(dim=-1)[0, yes])
    found = ours.score(images, ours.encode([prompt]))
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_a_judge_takes_any_answerer_and_has_no_gradient() -> None:
    target = "harness.benchmarks.shapeworld_questions:DetectorAnswerer"
    judge = VqaJudge({"target": target}, question="{}?")
    scene = render_batch([Scene((Placed("circle", "red", 16, 16),), (0.95, 0.94, 0.96))])
    scores = judge.score(
        scene.expand(2, -1, -1, -1), judge.encode(["a red circle", "a blue square"])
    )
    assert scores[0] > 0.9 and scores[1] < 0.1
    check_gradient(DECLARED.reward("vqa_score"), "reno")
    with pytest.raises(SpecError, match="reward 'vqa_judge' has none"):
        check_gradient(DECLARED.reward("vqa_judge"), "reno")
    with pytest.raises(SpecError, match=r"DetectorAnswerer takes no tensors.*VqaJudge"):
        VqaScore({"target": target})


@pytest.mark.parametrize("question", ["is it?", "{} or {}?"])
def test_a_question_has_one_place_for_the_prompt(question: str) -> None:
    with pytest.raises(SpecError, match=r"reward 'judge': its question needs \{\} once"):
        VqaJudge({"target": VLM, "weights": "."}, question=question, name="judge")


def test_a_model_without_a_commit_is_refused_before_any_work() -> None:
    made = declared(REPOSITORY / "workflows")
    target = "harness.benchmarks.vqa_score:VqaScore"
    made.add_reward("mine", target=target, answerer={"target": VLM, "weights": "a/b"}, version=1)
    with pytest.raises(ValueError, match=r"a/b.*commit"):
        check_reward(made.reward("mine"))
