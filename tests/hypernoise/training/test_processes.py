"""Training in several processes, on the CPU with gloo."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.multiprocessing import spawn
from toys import PROMPTS, ToyReward, build_generator

from hypernoise.training.checkpoints import checkpoints_in
from hypernoise.training.kinds import KINDS as ALL_KINDS
from hypernoise.training.loop import Trained, Training, train
from hypernoise.training.processes import ALONE, Processes, joined
from hypernoise.training.validation import Validation
from hypernoise.weights.saved_lora import WEIGHTS_FILE

TRAIN = [(f"train/{i}", text) for i, text in enumerate(PROMPTS)]
#: Three images for two processes: one draws two of them, the other one.
OPTIONS = {
    "steps": 4,
    "batch_size": 3,
    "accumulation": 2,
    "rank": 2,
    "alpha": 4.0,
    "temperature": 0.1,
    "learning_rate": 1e-2,
    "optimizer": "sgd",
    "image_grad_clip": 1.0,
    "checkpoint_every": 2,
    "validate_every": 2,
    "keep": "best",
    "distil_batches": 3,
    "distil_candidates": 3,
    # A training is stopped between two steps that use the same noises of the policy.
    "policy_epochs": 3,
    "policy_samples": 2,
}
#: Kinds of networks, and one with options that are off by default.
STEADIER = "hypernoise with options"
KINDS = ("hypernoise", "lora_finetune", "supervised", "noise_policy", STEADIER)
MORE_OPTIONS = {
    "noise": "step",
    "ema_decay": 0.5,
    "max_skipped": 1,
    "distil_steps": 1,
    "distil_candidates": 2,
}


def train_in(folder: Path, name: str, processes: Processes, steps: int) -> Trained:
    kind = ALL_KINDS[name.split()[0]]
    more = MORE_OPTIONS if name == STEADIER else {}
    options = kind.checked(kind.known({**OPTIONS, "steps": steps, **more}))
    training = Training(
        kind.build(build_generator("tiny_sd"), options),
        ToyReward(),
        TRAIN,
        options,
        folder,
        Validation(TRAIN, batch_size=2),
        processes=processes,
    )
    return train(training)


def one_of_two(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with joined() as processes:
        assert processes == Processes(rank, 2)
        for kind in KINDS:
            train_in(folder / kind, kind, processes, steps=2)
            # Continued: both processes restore what the first one wrote.
            trained = train_in(folder / kind, kind, processes, steps=4)
            torch.save([tuple(row) for row in trained.rows], folder / f"{kind}_{rank}.pt")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes trained, and the rows that each returned."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(one_of_two, (port, folder), nprocs=2)
    return folder


def rows_of(folder: Path, kind: str, rank: int) -> list[tuple[Any, ...]]:
    return torch.load(folder / f"{kind}_{rank}.pt", weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_what_one_trains(kind: str, together: Path, tmp_path: Path) -> None:
    alone = train_in(tmp_path, kind, ALONE, steps=4)
    # The same sums in another order; four steps of momentum carry the rounding on.
    ours, theirs = load_file(tmp_path / WEIGHTS_FILE), load_file(together / kind / WEIGHTS_FILE)
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-3, atol=1e-6)
    for row, found in zip(alone.rows, rows_of(together, kind, rank=0), strict=True):
        assert (row.kind, row.step) == tuple(found[:2])
        for name in row.values.keys() - {"seconds"}:
            # The advantages of a policy sum to rounding.
            assert found[2][name] == pytest.approx(row.values[name], rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("kind", KINDS)
def test_both_processes_measure_the_same(kind: str, together: Path) -> None:
    first, second = (rows_of(together, kind, rank) for rank in (0, 1))
    for ours, theirs in zip(first, second, strict=True):
        assert {**ours[2], "seconds": 0} == {**theirs[2], "seconds": 0}


def test_the_first_process_alone_writes_whole_checkpoints(together: Path) -> None:
    for kind in KINDS:
        assert list(checkpoints_in(together / kind)) == [2, 4]
        assert not list((together / kind).rglob("*.partial"))


@pytest.mark.parametrize(("n", "count"), [(7, 6), (6, 3), (5, 1), (8, 5)])
def test_shares_are_disjoint_complete_and_even(n: int, count: int) -> None:
    shares = [Processes(rank, count).share(range(n)) for rank in range(count)]
    assert [item for share in shares for item in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_fewer_images_than_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 images cannot be shared by 3 processes"):
        Processes(0, 3).share(range(2))


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"process 1 .* there are 1\."), joined():
        pass
