"""What the machine lacks is told in one line, whichever library ran into it."""

from __future__ import annotations

import errno
import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.base.machine_faults import advice
from harness.cli import command_line
from hypernoise.batches import Batches

FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    # As safetensors says it, whose error is no OSError.
    Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
]
NO_MEMORY = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("unable to mmap 5104168 bytes from file <a>: Cannot allocate memory (12)"),
    ImportError("liba.so: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_full_disk_is_told(error: Exception) -> None:
    assert "is full: make room" in (advice(error, []) or "")


@pytest.mark.parametrize("error", NO_MEMORY, ids=repr)
def test_a_lack_of_memory_is_told(error: Exception) -> None:
    assert "out of memory" in (advice(error, []) or "")


def test_the_full_disk_is_named_where_a_library_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    place = str(tmp_path / "work" / "yet to be made")
    assert advice(error, [place]) is None
    room = namedtuple("room", ["f_bavail", "f_frsize"])
    monkeypatch.setattr(os, "statvfs", lambda _: room(1, 4096))
    assert f"the disk of {tmp_path} is full" in (advice(error, [place]) or "")
    assert advice(RuntimeError("a fault of ours"), [place]) is None


def test_a_real_lack_of_memory_of_torch_and_numpy_halves_batches_until_one_image_is_too_much(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def make(batch: list[int]) -> int:
        too_much = 2**48
        if len(batch) > 3:
            torch.empty(too_much)
        if len(batch) > 1:
            np.empty(too_much)
        return len(batch)

    batches = Batches(8, "make")
    assert [made for _, made in batches.run(list(range(5)), make)] == [1] * 5
    assert "out of memory with 5 at a time, going on with 3" in capsys.readouterr().err

    def fail(_: object) -> None:
        torch.empty(2**48)

    with pytest.raises(RuntimeError) as raised:
        list(Batches(1, "make").run([0], fail))
    assert "out of memory" in (advice(raised.value, []) or "")


def test_other_errors_of_a_batch_are_raised() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        list(Batches(4, "make").run([1, 2], fail))


def test_a_job_that_finds_the_disk_full_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> None:
        raise FULL[2]

    monkeypatch.setattr(command_line, "resolve", lambda _: fail)
    monkeypatch.setattr("harness.cli.job_files.job_of", lambda *_: object())
    assert command_line.main(["table", "--job", "{}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Error while serializing") and "is full: make room" in line
