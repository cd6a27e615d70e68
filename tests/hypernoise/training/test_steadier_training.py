"""Averaged weights, smoothed choices and a distilled start: options that are off by default."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import BUILT, Killed, _plain_backbone, generator
from toys import PROMPTS, ToyReward

from hypernoise.models.protocol import Generator
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.noise import image_noise
from hypernoise.training.checkpoints import checkpoints_in
from hypernoise.training.loop import Trained, Training, highest, train
from hypernoise.training.measurements import Row
from hypernoise.training.options import NoiseNetworkOptions
from hypernoise.training.validation import Validation

__all__ = ["_plain_backbone", "generator"]

TRAIN = [(f"train/{i}", text) for i, text in enumerate(PROMPTS)]
OPTIONS = NoiseNetworkOptions(
    steps=6,
    batch_size=2,
    rank=2,
    alpha=4.0,
    temperature=0.1,
    checkpoint_every=1,
    validate_every=2,
    learning_rate=1e-2,
)


def fresh(
    generator: Generator, folder: Path, options: NoiseNetworkOptions = OPTIONS, **rest: Any
) -> tuple[NoiseNetwork, Trained]:
    network = NoiseNetwork(generator, options.rank, options.alpha, seed=options.seed)
    BUILT.append(network)
    return network, train(Training(network, ToyReward(), TRAIN, options, folder, **rest))


def weights(network: NoiseNetwork) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def saved_weights(generator: Generator, folder: Path) -> dict[int, torch.Tensor]:
    """The weights of every checkpoint."""
    network = NoiseNetwork(generator, 2, 4.0)
    found = {0: weights(network)}
    for step, checkpoint in checkpoints_in(folder).items():
        network.load(checkpoint)
        found[step] = weights(network)
    network.adapter.remove()
    return found


def test_the_average_of_the_weights_is_what_is_validated_and_kept(
    generator: Generator, tmp_path: Path
) -> None:
    validation = Validation(TRAIN)
    _, plain = fresh(generator, tmp_path / "raw", validation=validation)
    averaging = OPTIONS.changed(ema_decay=0.3)
    network, averaged = fresh(generator, tmp_path / "ema", averaging, validation=validation)
    raw, kept = (saved_weights(generator, tmp_path / name) for name in ("raw", "ema"))
    expected = raw[0]
    for step in range(1, 7):
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * raw[step]
        torch.testing.assert_close(kept[step], expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(weights(network), kept[6])
    # The way of the raw weights, and so what is measured on batches, is that of the plain training.
    for ours, theirs in zip(averaged.rows, plain.rows, strict=True):
        if ours.kind == "train":
            assert ours.values["loss"] == theirs.values["loss"]
        elif ours.step:
            assert ours.values["reward"] != theirs.values["reward"]


def test_an_averaged_training_that_was_killed_ends_bit_for_bit_like_a_whole_one(
    generator: Generator, tmp_path: Path
) -> None:
    options = OPTIONS.changed(ema_decay=0.9, checkpoint_every=2)
    validation = Validation(TRAIN)
    whole, expected = fresh(generator, tmp_path / "whole", options, validation=validation)

    def kill(row: Row) -> None:
        if (row.kind, row.step) == ("train", 5):
            raise Killed

    with pytest.raises(Killed):
        fresh(generator, tmp_path / "cut", options, validation=validation, on_row=kill)
    resumed, found = fresh(generator, tmp_path / "cut", options, validation=validation)
    assert torch.equal(weights(resumed), weights(whole))
    for ours, theirs in zip(found.rows, expected.rows, strict=True):
        assert {**ours.values, "seconds": 0} == {**theirs.values, "seconds": 0}


def test_the_best_averaged_checkpoint_can_be_kept(generator: Generator, tmp_path: Path) -> None:
    options = OPTIONS.changed(ema_decay=0.5, keep="best", checkpoint_every=2)
    network, trained = fresh(generator, tmp_path, options, validation=Validation(TRAIN))
    kept = trained.rows[-1]
    saved = saved_weights(generator, tmp_path)
    assert torch.equal(weights(network), saved[kept.step])


def test_a_lucky_checkpoint_loses_to_one_among_good_ones() -> None:
    rewards = [0.0, 1.0, -1.0, 0.7, 0.8, 0.7]
    assert highest(rewards) == 1
    assert highest(rewards, neighbours=1) == 5
    assert highest([*rewards, 0.1], neighbours=1) == 4
    assert highest([3.0], neighbours=2) == 0


def test_neighbours_choose_another_checkpoint_of_the_same_training(
    generator: Generator, tmp_path: Path
) -> None:
    steep = OPTIONS.changed(
        steps=8, keep="best", learning_rate=0.1, checkpoint_every=2, ema_decay=None
    )
    _, trained = fresh(generator, tmp_path, steep, validation=Validation(TRAIN))
    validated = {r.step: r.values["reward"] for r in trained.rows if r.kind == "validation"}
    rewards = [validated[step] for step in (2, 4, 6, 8)]
    # The option says what is kept and not how it is trained: the same folder goes on with it.
    _, again = fresh(
        generator, tmp_path, steep.changed(keep_neighbours=3), validation=Validation(TRAIN)
    )
    assert again.rows[-1].step == 2 * (1 + highest(rewards, 3))
    assert trained.rows[-1].step == 2 * (1 + highest(rewards))


def best_noise(generator: Generator, step: int, place: int, text: str, near: float) -> Any:
    """What a network distils for an image, and the rewards of all of its candidates."""
    own = image_noise(0, f"step {step}", place, generator.noise_shape, "training")
    name, reward = f"step {step} image {place}", ToyReward()
    noises = [own] + [
        near * own
        + math.sqrt(1 - near**2)
        * image_noise(0, name, i, generator.noise_shape, "training candidates")
        for i in (1, 2, 3)
    ]
    with torch.no_grad():
        conditioning = generator.encode([text] * 4)
        images = generator.sample(torch.stack(noises), conditioning)
        rewards = reward.score(images, reward.encode([text] * 4))
    return own, noises[int(rewards.argmax())], rewards


@pytest.mark.parametrize("near", [0.0, 0.9])
def test_a_distilled_start_learns_the_best_of_seeded_noises(
    generator: Generator, tmp_path: Path, near: float
) -> None:
    options = OPTIONS.changed(
        steps=1, distil_steps=1, distil_candidates=4, distil_similarity=near, optimizer="sgd"
    )
    seen: list[str] = []
    network = NoiseNetwork(generator, 2, 4.0)
    BUILT.append(network)
    original = network.delta

    def spy(noise: torch.Tensor, conditioning: Any) -> Any:
        seen.extend(conditioning.prompts)
        return original(noise, conditioning)

    network.delta = spy  # type: ignore[method-assign]
    before = weights(network)
    trained = train(Training(network, ToyReward(), TRAIN, options, tmp_path))
    (row,) = (row.values for row in trained.rows if row.kind == "train")
    found = [best_noise(generator, 1, i, text, near) for i, text in enumerate(seen)]
    # The untrained network moves nothing: the distance is that of the best noise.
    distances = [0.5 * (best - own).square().sum().item() for own, best, _ in found]
    assert row["distance_nats"] == pytest.approx(sum(distances) / 2, rel=1e-4)
    assert row["loss"] == pytest.approx(row["distance_nats"], rel=1e-6)
    best = sum(rewards.max().item() for *_, rewards in found) / 2
    assert row["best_reward"] == pytest.approx(best, rel=1e-4)
    assert not {"reward", "penalty"} & set(row)
    # Gradients reach the network.
    assert row["grad_norm"] > 0
    assert not torch.equal(weights(network), before)


def test_the_reward_is_raised_once_the_distilled_start_is_over(
    generator: Generator, tmp_path: Path
) -> None:
    options = OPTIONS.changed(
        steps=14,
        distil_steps=12,
        distil_candidates=4,
        learning_rate=3e-3,
        noise="training",
        sync_every=1,
        checkpoint_every=14,
        batch_size=3,
    )
    _, trained = fresh(generator, tmp_path, options)
    rows = [row.values for row in trained.rows if row.kind == "train"]
    assert ["distance_nats" in row for row in rows] == [True] * 12 + [False] * 2
    assert ["reward" in row for row in rows] == [False] * 12 + [True] * 2
    assert all(row["half_squared_norm_nats"] > 0 for row in rows[1:])


def test_a_killed_distillation_ends_bit_for_bit_like_a_whole_one(
    generator: Generator, tmp_path: Path
) -> None:
    options = OPTIONS.changed(distil_steps=4, distil_candidates=3, checkpoint_every=2)
    whole, _ = fresh(generator, tmp_path / "whole", options)

    def kill(row: Row) -> None:
        if row.step == 3:
            raise Killed

    with pytest.raises(Killed):
        fresh(generator, tmp_path / "cut", options.changed(sync_every=1), on_row=kill)
    resumed, _ = fresh(generator, tmp_path / "cut", options)
    assert torch.equal(weights(resumed), weights(whole))


def test_options_that_are_off_change_not_a_bit(generator: Generator, tmp_path: Path) -> None:
    plain, _ = fresh(generator, tmp_path / "plain")
    off = OPTIONS.changed(
        distil_candidates=5,
        distil_similarity=0.5,
        keep_neighbours=1,
        ema_decay=None,
        weight_decay=0.01,
        noise="image",
        max_skipped=0,
    )
    same, _ = fresh(generator, tmp_path / "off", off)
    assert torch.equal(weights(same), weights(plain))
