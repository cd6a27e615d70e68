"""Weighted sums of rewards."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from toys import ToyReward

from hypernoise.rewards.ensemble import Ensemble
from hypernoise.rewards.redness import Redness


def test_a_sum_adds_its_parts_scores_by_weight_and_encodes_each_part_once() -> None:
    parts = [ToyReward("one"), ToyReward("two")]
    reward = Ensemble([(5.0, parts[0]), (-0.5, parts[1])])
    features = reward.encode(["x", "y", "z"])
    images = torch.rand(3, 3, 4, 4)
    alone = parts[0].score(images, parts[0].encode(["x", "y", "z"]))
    torch.testing.assert_close(reward.score(images, features), 4.5 * alone)
    torch.testing.assert_close(
        reward.score(images[1:2], features.rows([1])), 4.5 * alone[1:2]
    )  # a row of the sum's features is that row of every part's
    assert [part.n_encoded for part in parts] == [6, 3]


def test_a_sum_is_differentiable_in_the_images() -> None:
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    reward = Ensemble([(2.0, Redness()), (0.5, Redness())])
    reward.score(images, reward.encode(["x"])).sum().backward()
    alone = torch.autograd.grad(Redness().score(images, Redness().encode(["x"])).sum(), images)[0]
    assert images.grad is not None
    torch.testing.assert_close(images.grad, 2.5 * alone)


def test_a_sum_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no parts"):
        Ensemble([])


def test_a_part_that_takes_no_pil_images_is_named() -> None:
    reward = Ensemble([(1.0, ToyReward("blind"))], name="both")
    with pytest.raises(TypeError, match="part 'blind' of reward 'both'"):
        reward.score_pil([Image.new("RGB", (4, 4))], reward.encode(["x"]))
