from __future__ import annotations

import pytest
import torch
from toys import NamedReward

from hypernoise.rewards.protocol import checked_score
from hypernoise.rewards.redness import Redness

COLORS = {"red": (1.0, 0.0, 0.0), "cyan": (0.0, 1.0, 1.0), "white": (1.0, 1.0, 1.0)}


def plain(name: str) -> torch.Tensor:
    return torch.tensor(COLORS[name]).view(1, 3, 1, 1).expand(1, 3, 4, 4)


@pytest.mark.parametrize(("color", "expected"), [("red", 1.0), ("cyan", -1.0), ("white", 0.0)])
def test_redness_of_plain_colours(color: str, expected: float) -> None:
    reward = Redness()
    assert reward.score(plain(color), reward.encode(["x"])).tolist() == [expected]


def test_redness_is_scaled_and_scored_per_image() -> None:
    reward = Redness(scale=0.01)
    images = torch.cat([plain("red"), plain("cyan")])
    scores = reward.score(images, reward.encode(["x", "y"]))
    torch.testing.assert_close(scores, torch.tensor([0.01, -0.01]))


def test_redness_is_differentiable_with_the_formulas_gradient() -> None:
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    reward = Redness(scale=2.0)
    reward.score(images, reward.encode(["x", "y"])).sum().backward()
    assert images.grad is not None
    per_pixel = torch.tensor([2.0, -1.0, -1.0]).view(1, 3, 1, 1) / 16
    torch.testing.assert_close(images.grad, per_pixel.expand(2, 3, 4, 4))


def test_features_of_redness_can_be_chosen_like_a_generators() -> None:
    features = Redness().encode(["x", "y"]).rows([1, 1, 0])
    assert len(features) == 3
    assert features.prompts == ("y", "y", "x")


def test_a_score_that_is_no_number_names_the_reward() -> None:
    reward = NamedReward("broken", lambda _images, scores: scores * float("nan"))
    with pytest.raises(ValueError, match="reward 'broken' returned nan"):
        checked_score(reward, plain("red"), reward.encode(["x"]))


def test_a_batch_mean_instead_of_scores_names_the_reward() -> None:
    reward = NamedReward("averaging", lambda _images, scores: scores.mean())
    with pytest.raises(ValueError, match=r"reward 'averaging' must return.*\(1,\).*shape \(\)"):
        checked_score(reward, plain("red"), reward.encode(["x"]))
