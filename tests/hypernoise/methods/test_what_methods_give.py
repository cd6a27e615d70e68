"""What a method of somebody else's gives is checked before anything is made of it."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import pytest
import torch

from hypernoise.methods.protocol import Generated, Request, Spent, images_of
from hypernoise.methods.warm_start import WarmStart
from hypernoise.networks.protocol import NoiseMover

REQUEST = Request(cast(Any, None), cast(Any, None), torch.zeros(2, 4, 8, 8), [1, 2])
RIGHT = Generated(torch.zeros(2, 3, 16, 16), torch.zeros(2, 4, 8, 8), Spent(1))
COUNTED = RIGHT._replace(
    rewards=torch.zeros(2),
    trajectory=torch.zeros(2, 3),
    prompts=[["a"] * 3] * 2,
    each=[Spent(1)] * 2,
)


class Theirs:
    """Gives what it was made with."""

    words_prompts: ClassVar[bool] = False

    def __init__(self, given: Any) -> None:
        self.given = given

    def run(self, request: Request) -> Generated:
        made: Generated = self.given
        return made


@pytest.mark.parametrize("given", [RIGHT, COUNTED], ids=["least", "all"])
def test_what_the_protocol_asks_for_is_taken_as_it_is(given: Generated) -> None:
    assert images_of(Theirs(given), REQUEST) is given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "Theirs.run gives a NoneType, must give a Generated"),
        (RIGHT.images, "Theirs.run gives a Tensor, must give a Generated"),
        (tuple(RIGHT), "Theirs.run gives a tuple, must give a Generated"),
        (RIGHT._replace(images=RIGHT.images[:1]), r"images, must be a tensor \[2, 3, H, W\]"),
        (RIGHT._replace(images=RIGHT.images[:, :1]), "wrong images, must"),
        (RIGHT._replace(images=RIGHT.images.numpy()), "wrong images, must"),
        (RIGHT._replace(noise=torch.zeros(2)), r"wrong noise, must be a tensor \[2, ...\]"),
        (RIGHT._replace(spent=4), "wrong spent, must be a Spent"),
        (COUNTED._replace(rewards=torch.zeros(2, 1)), "wrong rewards, must"),
        (COUNTED._replace(trajectory=torch.zeros(3, 2)), "wrong trajectory, must.*wrong prompts"),
        (COUNTED._replace(prompts=["a", "b"]), "wrong prompts, must be 2 lists of 3 texts"),
        (COUNTED._replace(each=[Spent(1)]), "wrong each, must be 2 Spent or None"),
        (RIGHT._replace(spent=None, noise=None), "wrong noise, .*; wrong spent, "),
    ],
)
def test_anything_else_is_refused_in_words(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        images_of(Theirs(given), REQUEST)


def test_a_search_that_goes_on_from_a_network_is_checked_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "hypernoise.methods.warm_start.inference_network", lambda network, _: network
    )
    monkeypatch.setattr(
        "hypernoise.methods.warm_start.moved_noise", lambda _, request: request.noise
    )
    warm = WarmStart(cast(NoiseMover, None), Theirs(None))
    with pytest.raises(ValueError, match=r"Theirs\.run gives a NoneType"):
        warm.run(REQUEST)
