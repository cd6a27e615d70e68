"""HPSv3 on small random weights: the original's formula, worked out of transformers' own parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hypernoise.rewards import hpsv3
from hypernoise.rewards.hpsv3 import HPSv3
from hypernoise.weights.stand_ins import Shelf

LONG = " ".join(["a quiet street in the rain"] * 30)


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> HPSv3:
    """A stand-in, read from the files that it lays."""
    torch.manual_seed(0)
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    given = {"weights": "hf://a/b/w.safetensors", "wording": "https://c.org/wording.py"}
    made = HPSv3.stand_in(shelf, model="d/e", **given)
    folder = shelf.repository("d/e", made["revision"])
    files = {path.name: str(path) for path in shelf.folder.rglob("w*") if path.is_file()}
    return HPSv3(
        files["w.safetensors"],
        files["wording.py"],
        str(folder),
        pixels=made["pixels"],
        dtype=torch.float32,
    )


def pixels(n: int) -> torch.Tensor:
    """Images of the size that the network sees: [n, 3, 56, 56], of 8-bit values."""
    made = torch.randint(0, 256, (n, 3, 56, 56), generator=torch.Generator().manual_seed(0))
    return made.float() / 255


def original(reward: HPSv3, image: torch.Tensor, prompt: str) -> torch.Tensor:
    """What hpsv3 1.0.0 computes of one PIL image: its two outputs."""
    picture = Image.fromarray((image * 255).numpy().astype(np.uint8).transpose(1, 2, 0))
    asked = {"type": "text", "text": f"Rate {prompt}. It is <|Reward|>"}
    chat = [{"role": "user", "content": [{"type": "image"}, asked]}]
    text = reward.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    inputs = reward.processor(images=[picture], text=[text], return_tensors="pt")
    model: Any = reward.network.model
    words = model.get_input_embeddings()(inputs["input_ids"])
    seen = model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
    is_image = (inputs["input_ids"] == model.config.image_token_id).unsqueeze(-1)
    together = words.masked_scatter(is_image.expand_as(words), seen)
    # No position_ids: the old language model counts up on its own, on all three axes.
    ticks = torch.arange(words.shape[1]).view(1, 1, -1).expand(3, 1, -1)
    hidden = model.language_model(inputs_embeds=together, position_ids=ticks).last_hidden_state
    token = reward.processor.tokenizer.convert_tokens_to_ids("<|Reward|>")
    state = hidden[inputs["input_ids"] == token]
    first, _, _, second, _, third = reward.network.head
    return third(torch.relu(second(torch.relu(first(state)))))[0]


def test_means_and_deviations_are_the_originals_whatever_stands_beside(reward: HPSv3) -> None:
    images, prompts = pixels(2), ["a cat", f"{LONG} {{dog}}"]
    means, sigmas = reward.mean_and_sigma(images, reward.encode(prompts))
    for place, prompt in enumerate(prompts):
        expected = original(reward, images[place], prompt)
        assert means[place].item() == pytest.approx(expected[0].item(), abs=1e-5)
        assert sigmas[place].item() == pytest.approx(expected[1].exp().item(), rel=1e-5)
    assert abs(means[0] - means[1]).item() > 1e-3
    torch.testing.assert_close(reward.score(images, reward.encode(prompts)), means)


def test_a_gradient_reaches_every_image_and_its_own_score_alone(reward: HPSv3) -> None:
    images = pixels(2).requires_grad_()
    scores = reward.score(images, reward.encode(["a cat", "a dog"]))
    (slope,) = torch.autograd.grad(scores[1], images)
    norms = slope.flatten(1).norm(dim=1).tolist()
    assert norms[0] == 0 and norms[1] > 0


def test_an_image_of_any_size_is_brought_to_the_networks(reward: HPSv3) -> None:
    large = torch.nn.functional.interpolate(pixels(1), scale_factor=3, mode="bilinear")
    assert torch.isfinite(reward.score(large, reward.encode(["a cat"]))).all()


def test_a_prompt_with_the_token_of_the_score_is_refused(reward: HPSv3) -> None:
    with pytest.raises(ValueError, match="'hpsv3' takes no prompt with"):
        reward.encode(["a <|Reward|>"])


@pytest.mark.parametrize(
    ("content", "message"),
    [("INSTRUCTION = 'x'", "must have {text_prompt}"), ("def", "is no Python file")],
)
def test_a_wording_is_read_and_never_run(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "w.py").write_text(content)
    with pytest.raises(ValueError, match=message.replace("{", r"\{")):
        hpsv3.wording_of(tmp_path / "w.py")
    (tmp_path / "w.py").write_text(
        "raise SystemExit\nINSTRUCTION = 'a {text_prompt}'\nprompt_with_special_token='<|Reward|>'"
    )
    assert hpsv3.wording_of(tmp_path / "w.py") == "a {text_prompt}<|Reward|>"
