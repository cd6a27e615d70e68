"""What goes to a GPU: pinned, and without the CPU waiting for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hypernoise.models.protocol import Conditioning
from hypernoise.transfers import on_device


class Copies:
    """Notes copies, which here never reach a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, bool, bool]] = []
        self.pinned: list[Tensor] = []
        real = Tensor.to

        def pin_memory(tensor: Tensor) -> Tensor:
            self.pinned.append(tensor.clone())
            return self.pinned[-1]

        def to(tensor: Tensor, target: Any, non_blocking: bool = False, **more: Any) -> Tensor:
            if not isinstance(target, torch.device) or target.type == "cpu":
                return real(tensor, target, **more)
            is_pinned = any(tensor is each for each in self.pinned)
            self.made.append((str(target), is_pinned, non_blocking))
            return tensor

        monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
        monkeypatch.setattr(Tensor, "to", to)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    return Copies(monkeypatch)


def test_values_go_to_a_gpu_from_pinned_memory_without_waiting(copies: Copies) -> None:
    values = torch.arange(3.0)
    assert torch.equal(on_device(values, "cuda"), values)
    assert copies.made == [("cuda", True, True)]


def test_encodings_go_to_a_gpu_alike(copies: Copies) -> None:
    Conditioning({"a": torch.zeros(2, 3), "b": torch.ones(2)}, ("x", "y")).to("cuda")
    assert copies.made == [("cuda", True, True)] * 2


def test_values_that_are_there_stay_as_they_are(copies: Copies) -> None:
    values = torch.zeros(2)
    assert on_device(values, "cpu") is values
    assert on_device(torch.zeros(2, device="meta"), torch.device("meta")).is_meta
    assert copies.pinned == []
