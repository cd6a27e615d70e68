"""Batches: in order, halved where memory does not suffice, and none kept longer than needed."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import pytest
import torch

from hypernoise.batches import Batches


class Made:
    """What a batch becomes."""


def test_a_batch_is_not_kept_while_the_next_is_made() -> None:
    alive: list[weakref.ref[Made]] = []

    def make(_batch: Sequence[int]) -> Made:
        assert [ref for ref in alive if ref() is not None] == []
        made = Made()
        alive.append(weakref.ref(made))
        return made

    for _, made in Batches(2, "test").run(range(6), make):
        assert alive[-1]() is made
        del made
    assert len(alive) == 3


def test_a_batch_that_does_not_fit_is_halved_for_good_and_nothing_is_made_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[list[int]] = []

    def make(batch: Sequence[int]) -> list[int]:
        asked.append(list(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return [10 * item for item in batch]

    found = [made for _, made in Batches(5, "test").run(range(6), make)]
    assert found == [[0, 10], [20, 30], [40, 50]]
    assert asked == [[0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [2, 3], [4, 5]]
    assert "test: out of memory with 5 at a time, going on with 3" in capsys.readouterr().err
    with pytest.raises(torch.OutOfMemoryError):
        list(Batches(1, "test").run([7], lambda batch: make([*batch] * 3)))
