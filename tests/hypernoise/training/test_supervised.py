"""Noise networks that learn from pairs of a noise and the better one of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import BUILT, Killed, _plain_backbone, generator
from torch import Tensor
from toys import PROMPTS, ToyReward

from hypernoise.methods.protocol import Request
from hypernoise.methods.reno import Reno
from hypernoise.models.protocol import Generator
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.noise import image_noise
from hypernoise.rewards.protocol import Features
from hypernoise.training import checkpoints
from hypernoise.training.loop import Trained, Training, train
from hypernoise.training.measurements import Row
from hypernoise.training.options import NoiseNetworkOptions, PairOptions, SupervisedOptions

__all__ = ["_plain_backbone", "generator"]

TRAIN = [(f"train/{i}", text) for i, text in enumerate(PROMPTS)]
GIVEN: dict[str, Any] = {
    "steps": 4,
    "batch_size": 2,
    "rank": 2,
    "alpha": 4.0,
    "checkpoint_every": 1,
    "validate_every": 4,
    "learning_rate": 3e-3,
    "distil_candidates": 3,
    "distil_learning_rate": 0.5,
    "sync_every": 1,
}
OPTIONS = SupervisedOptions(**GIVEN)


class Counting(ToyReward):
    """A toy reward that counts the images that it scores."""

    n_scored = 0

    def score(self, images: Tensor, features: Features) -> Tensor:
        self.n_scored += len(images)
        return super().score(images, features)


def fresh(
    generator: Generator, folder: Path, options: PairOptions = OPTIONS, **rest: Any
) -> tuple[NoiseNetwork, Trained]:
    network = NoiseNetwork(generator, options.rank, options.alpha, seed=options.seed)
    BUILT.append(network)
    reward = rest.pop("reward", ToyReward())
    return network, train(Training(network, reward, TRAIN, options, folder, **rest))


def weights(network: NoiseNetwork) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def rows_of(trained: Trained) -> list[dict[str, float]]:
    return [row.values for row in trained.rows if row.kind == "train"]


def test_the_better_noise_can_be_renos(generator: Generator, tmp_path: Path) -> None:
    seen: list[str] = []
    options = OPTIONS.changed(steps=1, distil_teacher="reno")
    network = NoiseNetwork(generator, 2, 4.0)
    BUILT.append(network)
    original = network.delta

    def spy(noise: Tensor, conditioning: Any) -> Any:
        seen.extend(conditioning.prompts)
        return original(noise, conditioning)

    network.delta = spy  # type: ignore[method-assign]
    (row,) = rows_of(train(Training(network, ToyReward(), TRAIN, options, tmp_path)))
    own = torch.stack(
        [image_noise(0, "step 1", i, generator.noise_shape, "training") for i in (0, 1)]
    )
    reward = ToyReward()
    request = Request(
        generator, generator.encode(seen), own, [0, 0], reward=reward, features=reward.encode(seen)
    )
    found = Reno(3, 0.5).run(request)
    assert found.rewards is not None
    distance = 0.5 * (found.noise - own).square().flatten(1).sum(dim=1).mean().item()
    assert distance > 0
    # The untrained network moves nothing: the distance is that of ReNO's noise.
    assert row["distance_nats"] == pytest.approx(distance, rel=1e-3)
    assert row["best_reward"] == pytest.approx(found.rewards.mean().item(), rel=1e-3)


@pytest.mark.parametrize("teacher", ["best_of_n", "reno"])
def test_a_warm_start_is_a_supervised_training(
    generator: Generator, tmp_path: Path, teacher: str
) -> None:
    alike = {**GIVEN, "distil_teacher": teacher, "distil_batches": 2}
    supervised, theirs = fresh(generator, tmp_path / "pairs", SupervisedOptions(**alike))
    warm = NoiseNetworkOptions(**{**alike, "steps": 5, "distil_steps": 4})
    _, ours = fresh(generator, tmp_path / "warm", warm)
    for mine, others in zip(rows_of(ours)[:4], rows_of(theirs), strict=True):
        assert {**mine, "seconds": 0} == {**others, "seconds": 0}
    assert "reward" in rows_of(ours)[4]
    network = NoiseNetwork(generator, 2, 4.0)
    BUILT.append(network)
    network.load(tmp_path / "warm" / "checkpoints" / "step_000004")
    assert torch.equal(weights(network), weights(supervised))


def test_pairs_that_come_again_are_searched_for_once(generator: Generator, tmp_path: Path) -> None:
    options = OPTIONS.changed(
        steps=30, distil_batches=2, checkpoint_every=30, distil_similarity=0.9, weight_decay=0.0
    )
    reward = Counting()
    _, trained = fresh(generator, tmp_path, options, reward=reward)
    assert reward.n_scored == 2 * 2 * OPTIONS.distil_candidates
    assert options.scored_images == pytest.approx(3 * 2 / 30)
    rows = rows_of(trained)
    # The same pairs: the same rewards, and a network that learns them by heart.
    assert [row["best_reward"] for row in rows[2:4]] == [row["best_reward"] for row in rows[:2]]
    assert rows[-1]["distance_nats"] + rows[-2]["distance_nats"] < 0.97 * (
        rows[0]["distance_nats"] + rows[1]["distance_nats"]
    )


def test_a_killed_supervised_training_ends_bit_for_bit_like_a_whole_one(
    generator: Generator, tmp_path: Path
) -> None:
    options = OPTIONS.changed(distil_batches=2)
    whole, _ = fresh(generator, tmp_path / "whole", options)

    def kill(row: Row) -> None:
        if row.step == 3:
            raise Killed

    with pytest.raises(Killed):
        fresh(generator, tmp_path / "cut", options, on_row=kill)
    resumed, _ = fresh(generator, tmp_path / "cut", options)
    assert torch.equal(weights(resumed), weights(whole))


def test_a_training_goes_on_that_began_before_there_was_an_option(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = NoiseNetworkOptions(**GIVEN)
    real = checkpoints.fingerprint

    def earlier(*given: Any) -> dict[str, Any]:
        found = real(*given)
        return {name: found[name] for name in found if name != "distil_teacher"}

    monkeypatch.setattr("hypernoise.training.loop.fingerprint", earlier)
    fresh(generator, tmp_path, options)
    monkeypatch.setattr("hypernoise.training.loop.fingerprint", real)
    _, trained = fresh(generator, tmp_path, options.changed(steps=5))
    assert rows_of(trained)[-1]["loss"]
    with pytest.raises(ValueError, match="its distil_teacher is 'best_of_n', not 'reno'"):
        fresh(generator, tmp_path, options.changed(distil_teacher="reno"))


def test_another_loss_of_the_same_network_does_not_go_on(
    generator: Generator, tmp_path: Path
) -> None:
    fresh(generator, tmp_path)
    with pytest.raises(ValueError, match=r"its kind is 'supervised', not 'hypernoise'|distil"):
        fresh(generator, tmp_path, NoiseNetworkOptions(**GIVEN))


def test_only_renos_pairs_need_a_gradient() -> None:
    assert not OPTIONS.follows_gradient
    assert OPTIONS.changed(distil_teacher="reno").follows_gradient
    assert NoiseNetworkOptions(**GIVEN).follows_gradient
