"""What every published scorer promises, on small random networks; and what preprocessing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity import small
from PIL import Image
from recorded_scorers import SCORERS, build
from torch import Tensor

from hypernoise.rewards.pickscore import PickScore
from hypernoise.rewards.preprocessing import Preprocessing
from hypernoise.rewards.protocol import KnowsLengths, PilReward

PROMPTS = ("a photo of a cat", "a photo of two cups of coffee on a table", "x")
#: What a score is counted in.
RANGE = {
    "hpsv2": 1.0,
    "clip_score": 100.0,
    "pickscore": 100.0,
    "imagereward": 1.0,
    "aesthetic": 1.0,
}


@pytest.fixture(scope="module", params=SCORERS)
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build(request.param, tmp_path_factory.mktemp(request.param))


def photographs(n: int, height: int = 40, width: int = 40) -> Tensor:
    """Smooth random images [n, 3, height, width] in [0, 1]."""
    coarse = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def test_an_image_scores_the_same_alone_and_in_a_batch(scorer: Any) -> None:
    images, features = photographs(3), scorer.encode(PROMPTS)
    together = scorer.score(images, features)
    alone = [scorer.score(images[i : i + 1], features.rows([i])) for i in range(3)]
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.cat(alone), atol=2e-5, rtol=0)


def test_a_prompt_is_encoded_the_same_alone_and_with_longer_ones(scorer: Any) -> None:
    features = scorer.encode(PROMPTS)
    for name, value in scorer.encode(PROMPTS[:1]).tensors.items():
        torch.testing.assert_close(features.tensors[name][:1], value, atol=1e-5, rtol=0)


def test_the_gradient_predicts_what_a_small_step_does(scorer: Any) -> None:
    images = photographs(1).requires_grad_()
    features = scorer.encode(PROMPTS[:1])
    score = scorer.score(images, features)
    (gradient,) = torch.autograd.grad(score.sum(), images)
    step = 0.02 * gradient / gradient.norm()
    gained = scorer.score(images + step, features) - scorer.score(images - step, features)
    expected = 2 * (gradient * step).sum()
    assert expected > 0
    torch.testing.assert_close(gained[0], expected, rtol=0.1, atol=1e-6)


def test_its_weights_are_frozen(scorer: Any) -> None:
    networks = [value for value in vars(scorer).values() if isinstance(value, torch.nn.Module)]
    networks += [scorer.clip.network] if hasattr(scorer, "clip") else []
    assert networks
    assert not any(p.requires_grad for network in networks for p in network.parameters())


def test_both_input_paths_agree_on_a_square_photograph(scorer: Any) -> None:
    image = (photographs(1, 512, 512) * 255).round().to(torch.uint8)
    pil = Image.fromarray(image[0].permute(1, 2, 0).numpy())
    features = scorer.encode(PROMPTS[:1])
    assert isinstance(scorer, PilReward)
    difference = scorer.score_pil([pil], features) - scorer.score(image / 255, features)
    # Smooth images: what is left is PIL's rounding to 8 bits.
    assert float(difference.abs()) < 0.05 * float(scorer.score(image / 255, features).abs())


@pytest.mark.parametrize("shape", [(3, 40, 40), (1, 1, 40, 40)])
def test_images_of_another_shape_are_refused(scorer: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \[B, 3, H, W\]"):
        scorer.score(torch.zeros(shape), scorer.encode(PROMPTS[:1]))


def test_bf16_scores_stay_close_and_come_as_float32(scorer: Any, tmp_path: Path) -> None:
    images = photographs(3)
    fast = build(scorer.name, tmp_path, dtype=torch.bfloat16)
    scores = fast.score(images, fast.encode(PROMPTS))
    exact = scorer.score(images, scorer.encode(PROMPTS))
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, exact)
    # bfloat16 keeps 8 bits; unit vectors of a few layers lose a few of them.
    assert float((scores - exact).abs().max()) < 0.05 * RANGE[scorer.name]


def test_an_unknown_architecture_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'ViT-H14'.*'ViT-H-14'"):
        build("hpsv2", tmp_path, architecture="ViT-H14")


def test_weights_of_another_scorer_are_refused_by_name(tmp_path: Path) -> None:
    build("clip_score", tmp_path)
    with pytest.raises(ValueError, match="do not fit CLIPModel: missing"):
        PickScore(str(tmp_path / "weights.safetensors"), small.CLIP)


@pytest.mark.parametrize(
    ("settings", "height", "width", "expected"),
    [
        ({}, 300, 451, [224, 336]),
        ({}, 75, 113, [224, 337]),
        ({"framing": "pad"}, 300, 451, [149, 224]),
        ({"framing": "pad"}, 1, 1000, [1, 224]),
    ],
)
def test_images_are_resized_to_the_originals_sizes(
    settings: Any, height: int, width: int, expected: list[int]
) -> None:
    preprocessing = Preprocessing(**settings)
    assert preprocessing.resized_px(height, width) == expected
    assert preprocessing.from_tensors(torch.rand(1, 3, height, width)).shape[-2:] == (224, 224)


def test_padding_is_black_and_cropping_keeps_the_centre() -> None:
    white = torch.ones(1, 3, 224, 448)
    padded = Preprocessing(framing="pad", resizes="tensor").from_tensors(white)
    black = Preprocessing().from_tensors(torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(padded[..., :56, :], black[..., :56, :])
    striped = torch.zeros(1, 3, 224, 448)
    striped[..., 112:336] = 1
    cropped = Preprocessing().from_tensors(striped)
    torch.testing.assert_close(cropped, Preprocessing().from_tensors(torch.ones(1, 3, 8, 8)))


@pytest.mark.parametrize(("offset", "left"), [("even", 4), ("down", 3)])
def test_half_of_an_odd_margin_is_rounded_as_in_the_original(offset: Any, left: int) -> None:
    ramp = torch.arange(231.0).expand(1, 3, 224, 231) / 255
    preprocessing = Preprocessing(offset=offset)
    columns = preprocessing.from_tensors(ramp)[0, 0, 0]
    first = preprocessing.from_tensors(torch.full((1, 3, 8, 8), left / 255))[0, 0, 0, 0]
    torch.testing.assert_close(columns[0], first)


def test_the_longest_prompt_that_it_reads_whole_is_the_one_it_says(scorer: Any) -> None:
    if not isinstance(scorer, KnowsLengths):
        assert scorer.name == "aesthetic", "a scorer that reads prompts says how much of them"
        return
    texts = [" ".join(["x"] * n) for n in range(1, 120)]
    cut = [one.is_cut for (one,) in (lengths.values() for lengths in scorer.lengths(texts))]
    n = cut.index(True)
    assert n > 1 and all(cut[n:])
    for value in scorer.encode(texts[n - 2 : n + 1]).tensors.values():
        shorter, longest, longer = value.unbind()
        assert not torch.allclose(shorter, longest)
        torch.testing.assert_close(longer, longest, atol=1e-6, rtol=0)
