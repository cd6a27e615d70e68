"""The judge: what it reads, what follows from what it sees, and what it is trained on."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from hypernoise.shapeworld.captions import COLORS, SHAPES, SPLITS, captions
from hypernoise.shapeworld.judging import Thing, draw, recognition_loss, smeared, things
from hypernoise.shapeworld.recogniser import (
    PLACES,
    Objects,
    Recogniser,
    log_odds,
    objects_of,
    read,
)


def seen(*found: tuple[str, str, int, int, float]) -> Objects:
    """Objects of certain shapes and colours at rows and columns, each there with a probability."""
    present = torch.zeros(PLACES * PLACES)
    shapes = torch.full((PLACES * PLACES, len(SHAPES)), 1 / len(SHAPES))
    colors = torch.full((PLACES * PLACES, len(COLORS)), 1 / len(COLORS))
    for shape, color, row, col, likely in found:
        place = row * PLACES + col
        present[place] = likely
        shapes[place] = torch.eye(len(SHAPES))[SHAPES.index(shape)]
        colors[place] = torch.eye(len(COLORS))[COLORS.index(color)]
    return Objects(present, shapes, colors)


def probability(caption: str, objects: Objects) -> float:
    return float(log_odds(objects, read(caption)).sigmoid())


def test_every_caption_of_the_world_is_read_as_it_was_meant() -> None:
    for split in SPLITS:
        for caption in captions(split):
            assert read(caption.text) == (caption.subjects, caption.relation)


@pytest.mark.parametrize("text", ["a photo of a giraffe", "a circle and a ring and a moon", ""])
def test_what_no_template_has_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        read(text)


def test_a_count_holds_with_the_chance_of_exactly_so_many() -> None:
    likely = (0.9, 0.6, 0.3)
    objects = seen(*(("ring", "red", 2, 5 * n, p) for n, p in enumerate(likely)))
    for count, word in ((2, "two"), (3, "three")):
        exact = sum(
            np.prod([p if there else 1 - p for p, there in zip(likely, which, strict=True)])
            for which in product((True, False), repeat=3)
            if sum(which) == count
        )
        assert probability(f"{word} rings", objects) == pytest.approx(exact, abs=1e-3)


def test_two_things_hold_where_both_are_there() -> None:
    objects = seen(("ring", "red", 2, 2, 0.8), ("moon", "blue", 9, 9, 0.5))
    assert probability("a ring and a moon", objects) == pytest.approx(0.4, abs=1e-3)
    assert probability("a red ring and a blue moon", objects) == pytest.approx(0.4, abs=1e-3)
    assert probability("a blue ring and a red moon", objects) < 1e-3


@pytest.mark.parametrize(
    ("relation", "holds"), [("left of", 1), ("right of", 0), ("above", 0), ("below", 0)]
)
def test_a_relation_says_where_the_first_named_stands(relation: str, holds: int) -> None:
    objects = seen(("ring", "red", 7, 2, 1.0), ("moon", "blue", 8, 12, 1.0))
    found = probability(f"a photo of a ring {relation} a moon", objects)
    assert found == pytest.approx(holds, abs=1e-3)


def test_of_neighbouring_places_the_likeliest_is_an_object() -> None:
    logits = torch.full((1, 1 + len(SHAPES) + len(COLORS), PLACES, PLACES), -9.0)
    logits[0, 0, 5, 5], logits[0, 0, 5, 6], logits[0, 0, 12, 12] = 3.0, 2.0, 1.0
    (found,) = objects_of(logits)
    there = (found.present > 0.01).nonzero().flatten().tolist()
    assert there == [5 * PLACES + 5, 12 * PLACES + 12]


def test_pictures_for_the_judge_stay_in_range_and_show_what_they_say() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        each = things(rng)
        image = smeared(draw(each, rng), rng)
        assert 1 <= len(each) <= 5
        assert image.shape == (3, 32, 32) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1
        for thing in each:
            assert thing.shapes.sum() == pytest.approx(1)
            assert thing.colors.sum() == pytest.approx(1)


def test_the_loss_is_least_for_logits_that_say_what_was_drawn() -> None:
    eye = np.eye(8, dtype=np.float32)
    pictures = [[Thing(10.0, 20.0, 1.0, eye[2], eye[5])], [Thing(21.0, 9.0, 1.0, eye[0], eye[1])]]

    def logits(moved: int) -> Tensor:
        found = torch.full((2, 17, PLACES, PLACES), -6.0)
        for n, ((thing,), shape, color) in enumerate(zip(pictures, (2, 0), (5, 1), strict=True)):
            row, col = int(thing.row / 2), int(thing.col / 2) + moved
            found[n, [0, 1 + shape, 9 + color], row, col] = 6.0
        return found

    right, beside = (recognition_loss(logits(moved), pictures) for moved in (0, 3))
    assert right < beside


def test_gradients_of_the_judge_reach_the_image() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    (objects,) = objects_of(Recogniser(width=12, blocks=1)(image))
    log_odds(objects, read("two rings")).backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None and image.grad.abs().sum() > 0
