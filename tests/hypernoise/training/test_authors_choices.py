"""Options that are the authors' choices where this project makes others by default."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import PROMPTS, NamedReward, ToyReward, build_generator

from hypernoise.models.protocol import Generator
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.noise import image_noise
from hypernoise.training.checkpoints import checkpoints_in
from hypernoise.training.loop import Trained, Training, train
from hypernoise.training.measurements import TrainingDiverged
from hypernoise.training.options import NoiseNetworkOptions
from hypernoise.training.processes import Processes

TRAIN = [(f"train/{i}", text) for i, text in enumerate(PROMPTS)]
OPTIONS = NoiseNetworkOptions(
    steps=4,
    batch_size=2,
    rank=2,
    alpha=4.0,
    temperature=0.1,
    checkpoint_every=2,
    learning_rate=1e-2,
)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return build_generator("tiny_sd")


@pytest.fixture
def network(generator: Generator) -> Iterator[NoiseNetwork]:
    built = NoiseNetwork(generator, 2, 4.0)
    yield built
    built.adapter.remove()


def run(
    network: NoiseNetwork, folder: Path, options: NoiseNetworkOptions = OPTIONS, **rest: Any
) -> Trained:
    reward = rest.pop("reward", None) or ToyReward()
    return train(Training(network, reward, TRAIN, options, folder, **rest))


def weights(network: NoiseNetwork) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def noises_of(
    network: NoiseNetwork, folder: Path, processes: Processes, **options: Any
) -> list[torch.Tensor]:
    """The noise of every forward pass of a training, in one of several processes."""
    seen: list[torch.Tensor] = []
    original = network.draw

    def spy(noise: torch.Tensor, *rest: Any) -> Any:
        seen.append(noise)
        return original(noise, *rest)

    network.draw = spy  # type: ignore[method-assign]
    train(
        Training(
            network, ToyReward(), TRAIN, OPTIONS.changed(**options), folder, processes=processes
        )
    )
    return seen


class Unconnected(Processes):
    """One of several processes, which hears nothing of the others."""

    def sum(self, tensors: Any) -> None:
        pass

    def wait(self) -> None:
        pass


def test_one_noise_serves_all_prompts_parts_and_processes_of_a_step(
    network: NoiseNetwork, tmp_path: Path
) -> None:
    shared = {"noise": "step", "accumulation": 2, "steps": 2, "batch_size": 4}
    shape = network.generator.noise_shape
    for rank in (0, 1):
        seen = noises_of(network, tmp_path / str(rank), Unconnected(rank, 2), **shared)
        assert [len(noise) for noise in seen] == [2] * 4
        for step, parts in ((1, seen[:2]), (2, seen[2:])):
            expected = image_noise(0, f"step {step}", 0, shape, "training")
            assert all(torch.equal(noise, expected) for part in parts for noise in part)


def test_one_noise_can_serve_a_whole_training(network: NoiseNetwork, tmp_path: Path) -> None:
    seen = noises_of(network, tmp_path, Processes(), noise="training", steps=3)
    first = image_noise(0, "step 1", 0, network.generator.noise_shape, "training")
    assert len(seen) == 3
    assert all(torch.equal(noise, first) for part in seen for noise in part)


def test_weight_decay_shrinks_what_adamw_moves(network: NoiseNetwork, tmp_path: Path) -> None:
    before = weights(network)
    options = OPTIONS.changed(steps=1, learning_rate=0.1)
    found = {}
    for decay in (0.0, 0.01, 0.5):
        with torch.no_grad():
            for parameter, value in zip(
                network.parameters(),
                before.split([p.numel() for p in network.parameters()]),
                strict=True,
            ):
                parameter.copy_(value.view_as(parameter))
        run(network, tmp_path / str(decay), options.changed(weight_decay=decay))
        found[decay] = weights(network)
    # Decoupled: the weights shrink by rate x decay, whatever the gradient is.
    for decay in (0.01, 0.5):
        expected = found[0.0] - 0.1 * decay * before
        torch.testing.assert_close(found[decay], expected, rtol=1e-4, atol=1e-6)
    # What AdamW of torch has by default is what this has.
    assert OPTIONS.weight_decay == torch.optim.AdamW([torch.zeros(1)]).defaults["weight_decay"]


def test_a_warm_up_can_begin_with_nothing_and_last_as_many_times_longer_as_there_are_processes(
    network: NoiseNetwork, tmp_path: Path
) -> None:
    options = OPTIONS.changed(steps=6, warmup_steps=2, learning_rate=0.8, optimizer="sgd")
    zero = options.changed(warmup_from_zero=True)
    rates = [zero.learning_rate_at(step) for step in range(1, 5)]
    assert rates == pytest.approx([0.0, 0.4, 0.8, 0.8])
    assert zero.changed(warmup_steps=0).learning_rate_at(1) == 0.8
    longer = zero.changed(warmup_per_process=True)
    trained = run(network, tmp_path, longer, processes=Unconnected(0, 2))
    rates = [r.values["learning_rate"] for r in trained.rows if r.kind == "train"]
    assert rates == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 0.8])
    with pytest.raises(ValueError, match="its processes is 2, not 1"):
        run(network, tmp_path, longer)


class Spoilt(NamedReward):
    """A reward of which some batches, counted from 1, are not finite."""

    def __init__(self, *batches: int) -> None:
        super().__init__("spoilt", self._spoilt)
        self._batches, self._n = batches, 0

    def _spoilt(self, _images: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._n += 1
        return scores * math.nan if self._n in self._batches else scores


def test_a_step_that_is_not_finite_is_left_out_counted_and_bounded(
    network: NoiseNetwork, tmp_path: Path
) -> None:
    start = weights(network)
    trained = run(network, tmp_path / "a", OPTIONS.changed(max_skipped=2), reward=Spoilt(1, 2))
    rows = [row.values for row in trained.rows if row.kind == "train"]
    assert [row.get("skipped") for row in rows] == [1.0, 1.0, None, None]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    saved = checkpoints_in(tmp_path / "a")
    network.load(saved[2])
    assert torch.equal(weights(network), start)
    network.load(saved[4])
    assert not torch.equal(weights(network), start)
    said = "loss after 2 skipped steps is nan at step 4"
    with pytest.raises(TrainingDiverged, match=said):
        run(network, tmp_path / "b", OPTIONS.changed(max_skipped=2), reward=Spoilt(1, 2, 4))
    with pytest.raises(TrainingDiverged, match="loss is nan at step 1"):
        run(network, tmp_path / "c", reward=Spoilt(1))


def test_skipped_steps_are_still_counted_after_a_kill(
    network: NoiseNetwork, tmp_path: Path
) -> None:
    options = OPTIONS.changed(max_skipped=1)
    run(network, tmp_path, options.changed(steps=2), reward=Spoilt(1))
    with pytest.raises(TrainingDiverged, match="after 1 skipped steps is nan at step 3"):
        run(network, tmp_path, options, reward=Spoilt(1))


def test_allowing_for_skips_changes_nothing_where_there_are_none(
    network: NoiseNetwork, generator: Generator, tmp_path: Path
) -> None:
    run(network, tmp_path / "plain")
    other = NoiseNetwork(generator, 2, 4.0)
    run(other, tmp_path / "allowed", OPTIONS.changed(max_skipped=3))
    assert torch.equal(weights(other), weights(network))
    other.adapter.remove()
