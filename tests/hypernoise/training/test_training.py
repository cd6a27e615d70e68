from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import PROMPTS, NamedReward, ToyReward, build_generator, noted_waits

from hypernoise.models.protocol import Generator, encode_in_chunks
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.noise import image_noise
from hypernoise.rewards.redness import Redness
from hypernoise.training.kinds import KINDS
from hypernoise.training.loop import Trained, Training, train
from hypernoise.training.measurements import Row, TrainingDiverged
from hypernoise.training.options import LoraOptions, NoiseNetworkOptions
from hypernoise.training.validation import Validation

TRAIN = [(f"train/{i}", text) for i, text in enumerate(PROMPTS)]
OPTIONS = NoiseNetworkOptions(
    steps=6,
    batch_size=2,
    rank=2,
    alpha=4.0,
    temperature=0.1,
    checkpoint_every=2,
    validate_every=3,
    learning_rate=1e-2,
)
LORA: dict[str, type[NoiseNetwork] | type[FineTuner]] = {
    "hypernoise": NoiseNetwork,
    "lora_finetune": FineTuner,
}


class Killed(BaseException):
    """Stands for a signal."""


@pytest.fixture(scope="module")
def generator() -> Generator:
    return build_generator("tiny_sd")


@pytest.fixture(autouse=True)
def _plain_backbone(generator: Generator) -> Iterator[None]:
    yield
    for name in list(getattr(generator.backbone, "peft_config", {})):
        for built in BUILT:
            if built.adapter.name == name and built.adapter.backbone is generator.backbone:
                built.adapter.remove()
    BUILT.clear()


BUILT: list[NoiseNetwork | FineTuner] = []


def train_fresh(
    generator: Generator,
    folder: Path,
    kind: str = "hypernoise",
    options: LoraOptions = OPTIONS,
    reward: Any = None,
    **arguments: Any,
) -> tuple[NoiseNetwork | FineTuner, Trained]:
    objective = LORA[kind](generator, options.rank, options.alpha, seed=options.seed)
    BUILT.append(objective)
    prompts = arguments.pop("prompts", TRAIN)
    training = Training(objective, reward or ToyReward(), prompts, options, folder, **arguments)
    return objective, train(training)


def weights(objective: NoiseNetwork | FineTuner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in objective.adapter.parameters()])


@pytest.fixture(scope="module")
def whole_weights(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """Where the default options lead without any interruption."""
    whole, _ = train_fresh(generator, tmp_path_factory.mktemp("whole"))
    found = weights(whole)
    BUILT.remove(whole)
    whole.adapter.remove()
    return found


def without_seconds(rows: tuple[Row, ...]) -> list[Any]:
    return [
        (row.kind, row.step, {k: v for k, v in row.values.items() if k != "seconds"})
        for row in rows
    ]


def train_rows(trained: Trained) -> list[dict[str, float]]:
    return [row.values for row in trained.rows if row.kind == "train"]


@pytest.mark.parametrize(("kind", "optimizer"), [("hypernoise", "adamw"), ("lora_finetune", "sgd")])
def test_a_killed_training_ends_bit_for_bit_like_one_that_was_not(
    generator: Generator, tmp_path: Path, kind: str, optimizer: Any
) -> None:
    options = OPTIONS.changed(optimizer=optimizer)
    validation = Validation(TRAIN[:1], judges={"judge": Redness()})
    whole, expected = train_fresh(
        generator, tmp_path / "whole", kind, options, validation=validation
    )

    def kill(row: Row) -> None:
        if (row.kind, row.step) == ("train", 5):
            raise Killed

    with pytest.raises(Killed):
        train_fresh(
            generator, tmp_path / "killed", kind, options, validation=validation, on_row=kill
        )
    fresh: list[Row] = []
    resumed, found = train_fresh(
        generator, tmp_path / "killed", kind, options, validation=validation, on_row=fresh.append
    )
    assert torch.equal(weights(resumed), weights(whole))
    assert without_seconds(found.rows) == without_seconds(expected.rows)
    # It did continue, from the checkpoint of step 4.
    assert [row.step for row in fresh if row.kind == "train"] == [5, 6]
    saved = LORA[kind].trained(generator, tmp_path / "killed")
    assert torch.equal(weights(saved), weights(whole))
    saved.adapter.remove()


def test_a_finished_training_is_not_repeated_and_can_be_prolonged(
    generator: Generator, tmp_path: Path, whole_weights: torch.Tensor
) -> None:
    _, short = train_fresh(generator, tmp_path / "a", options=OPTIONS.changed(steps=3))
    again: list[Row] = []
    same, found = train_fresh(
        generator, tmp_path / "a", options=OPTIONS.changed(steps=3), on_row=again.append
    )
    assert not again
    assert found.rows == short.rows
    longer, _ = train_fresh(generator, tmp_path / "a")
    assert torch.equal(weights(longer), whole_weights)
    assert not torch.equal(weights(same), whole_weights)


def test_a_folder_of_another_training_is_refused(generator: Generator, tmp_path: Path) -> None:
    train_fresh(generator, tmp_path, options=OPTIONS.changed(steps=2))
    with pytest.raises(ValueError, match=r"learning_rate is 0\.01, not 0\.5"):
        train_fresh(generator, tmp_path, options=OPTIONS.changed(learning_rate=0.5))
    with pytest.raises(ValueError, match="its prompts is"):
        train_fresh(generator, tmp_path, prompts=TRAIN[:1])
    with pytest.raises(ValueError, match="its reward is 'toy', not 'redness'"):
        train_fresh(generator, tmp_path, reward=Redness())
    with pytest.raises(ValueError, match="beyond the 1 steps"):
        train_fresh(generator, tmp_path, options=OPTIONS.changed(steps=1))


def test_the_best_validated_checkpoint_is_kept_where_that_is_asked_for(
    generator: Generator, tmp_path: Path
) -> None:
    # A step this large soon ruins what the first ones have gained.
    options = OPTIONS.changed(steps=8, validate_every=2, learning_rate=0.1, keep="best")
    validation = Validation(TRAIN, images_per_prompt=2)
    trained, found = train_fresh(generator, tmp_path, options=options, validation=validation)
    of_step = {r.step: r.values["reward"] for r in found.rows if r.kind == "validation" and r.step}
    best = max(of_step, key=lambda step: of_step[step])
    assert best != 8
    kept = found.rows[-1]
    assert (kept.kind, kept.step, kept.values["reward"]) == ("kept", best, of_step[best])
    checkpoint = tmp_path / "checkpoints" / f"step_{best:06d}" / "adapter_model.safetensors"
    assert (tmp_path / "adapter_model.safetensors").read_bytes() == checkpoint.read_bytes()
    saved = NoiseNetwork.trained(generator, checkpoint.parent)
    assert torch.equal(weights(trained), weights(saved))
    saved.adapter.remove()
    _, again = train_fresh(generator, tmp_path, options=options, validation=validation)
    assert again.rows[-1] == kept


def test_keeping_the_best_needs_a_validation(generator: Generator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep 'best' compares validations"):
        train_fresh(generator, tmp_path, options=OPTIONS.changed(keep="best"))


def test_a_linear_decay_ends_at_nothing_and_keeps_the_warm_up() -> None:
    options = OPTIONS.changed(steps=10, warmup_steps=2, learning_rate=1.0, decay="linear")
    rates = [options.learning_rate_at(step) for step in range(1, 11)]
    assert rates == pytest.approx([0.5, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    constant = options.changed(decay="none")
    assert [constant.learning_rate_at(step) for step in (1, 2, 10)] == [0.5, 1.0, 1.0]


def test_a_decaying_training_cannot_be_prolonged(generator: Generator, tmp_path: Path) -> None:
    decaying = OPTIONS.changed(steps=2, decay="linear")
    train_fresh(generator, tmp_path, options=decaying)
    with pytest.raises(ValueError, match="its steps is 2, not 3"):
        train_fresh(generator, tmp_path, options=decaying.changed(steps=3))


def test_a_checkpoint_that_was_being_written_is_ignored(
    generator: Generator, tmp_path: Path, whole_weights: torch.Tensor
) -> None:
    train_fresh(generator, tmp_path, options=OPTIONS.changed(steps=4))
    (tmp_path / "checkpoints" / "step_000005.partial").mkdir()
    resumed, _ = train_fresh(generator, tmp_path)
    assert torch.equal(weights(resumed), whole_weights)


def test_checkpoints_hold_the_adapter_of_their_step(generator: Generator, tmp_path: Path) -> None:
    _, trained = train_fresh(generator, tmp_path / "long")
    assert [path.name for path in trained.checkpoints] == [
        "step_000002",
        "step_000004",
        "step_000006",
    ]
    short, _ = train_fresh(generator, tmp_path / "short", options=OPTIONS.changed(steps=4))
    loaded = NoiseNetwork.trained(generator, trained.checkpoints[1])
    assert torch.equal(weights(loaded), weights(short))
    loaded.adapter.remove()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_penalty_minus_reward_over_temperature(
    generator: Generator, tmp_path: Path, reduction: Any
) -> None:
    options = OPTIONS.changed(steps=3, l2_reduction=reduction)
    _, trained = train_fresh(generator, tmp_path, options=options)
    first, *later = train_rows(trained)
    d = math.prod(generator.noise_shape)
    assert first["half_squared_norm_nats"] == 0
    for row in (first, *later):
        assert row["loss"] == pytest.approx(row["penalty"] - row["reward"] / 0.1, rel=1e-5)
        scale = 1 if reduction == "sum" else d
        assert row["penalty"] * scale == pytest.approx(row["half_squared_norm_nats"], rel=1e-5)
        # rms of the batch and KL are the same number in other units.
        assert row["delta_rms"] ** 2 * d / 2 == pytest.approx(
            row["half_squared_norm_nats"], rel=1e-4
        )
    assert all(row["half_squared_norm_nats"] > 0 for row in later)
    # A LoRA on a backbone does not know its KL, so nothing is called so.
    assert "kl_nats" not in first


def test_fine_tuning_has_no_penalty(generator: Generator, tmp_path: Path) -> None:
    options = OPTIONS.changed(steps=2)
    _, trained = train_fresh(generator, tmp_path, "lora_finetune", options)
    for row in train_rows(trained):
        assert row["loss"] == pytest.approx(-row["reward"] / 0.1, rel=1e-5)
        assert "penalty" not in row


@pytest.mark.parametrize("kind", LORA)
def test_training_raises_the_reward_on_other_noise(tmp_path: Path, kind: str) -> None:
    generator = build_generator("tiny_sana")
    options = OPTIONS.changed(
        steps=16, batch_size=4, temperature=1e-3, learning_rate=1e-3, validate_every=16
    )
    validation = Validation([("unseen", "a photo of a purple ring")], images_per_prompt=4)
    objective, trained = train_fresh(
        generator, tmp_path, kind, options, Redness(), validation=validation
    )
    before, after = (r.values["reward"] for r in trained.rows if r.kind == "validation")
    assert after > before + 0.02
    objective.adapter.remove()


def test_every_pass_over_the_prompts_has_its_own_order(
    generator: Generator, tmp_path: Path
) -> None:
    seen: list[str] = []
    objective = NoiseNetwork(generator, 2, 4.0)
    BUILT.append(objective)
    original = objective.draw

    def spy(noise: torch.Tensor, conditioning: Any, *rest: Any) -> Any:
        seen.extend(conditioning.prompts)
        return original(noise, conditioning, *rest)

    objective.draw = spy  # type: ignore[method-assign]
    prompts = [(f"train/{i}", f"a photo of {word}") for i, word in enumerate(("a", "two", "red"))]
    options = OPTIONS.changed(steps=3, batch_size=2, accumulation=2)
    train(Training(objective, ToyReward(), prompts, options, tmp_path))
    passes = [seen[start : start + 3] for start in range(0, 12, 3)]
    assert all(sorted(one) == sorted(text for _, text in prompts) for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_training_noise_depends_on_seed_step_and_position_alone(
    generator: Generator, tmp_path: Path
) -> None:
    seen: list[torch.Tensor] = []
    objective = NoiseNetwork(generator, 2, 4.0)
    BUILT.append(objective)
    original = objective.draw

    def spy(noise: torch.Tensor, *rest: Any) -> Any:
        seen.append(noise)
        return original(noise, *rest)

    objective.draw = spy  # type: ignore[method-assign]
    options = OPTIONS.changed(steps=2, accumulation=2)
    train(Training(objective, ToyReward(), TRAIN, options, tmp_path))
    assert len(seen) == 4
    for step, part in ((1, 0), (1, 1), (2, 0), (2, 1)):
        expected = [
            image_noise(0, f"step {step}", 2 * part + i, generator.noise_shape, "training")
            for i in range(2)
        ]
        assert torch.equal(seen[2 * (step - 1) + part], torch.stack(expected))


def test_accumulation_takes_the_same_step_as_one_large_batch(
    generator: Generator, tmp_path: Path
) -> None:
    options = OPTIONS.changed(steps=2, batch_size=4, optimizer="sgd", image_grad_clip=1e-3)
    one, expected = train_fresh(generator, tmp_path / "one", options=options)
    parts = options.changed(batch_size=2, accumulation=2)
    two, found = train_fresh(generator, tmp_path / "two", options=parts)
    # The same sums in another order.
    torch.testing.assert_close(weights(two), weights(one), rtol=1e-3, atol=1e-6)
    for a, b in zip(train_rows(expected), train_rows(found), strict=True):
        for name in ("loss", "reward", "half_squared_norm_nats", "grad_norm"):
            assert a[name] == pytest.approx(b[name], rel=1e-3)


def test_the_gradient_is_clipped_and_logged_unclipped(generator: Generator, tmp_path: Path) -> None:
    options = OPTIONS.changed(steps=1, optimizer="sgd", grad_clip=1e-3, learning_rate=2.0)
    untrained = NoiseNetwork(generator, 2, 4.0)
    before = weights(untrained)
    untrained.adapter.remove()
    trained, result = train_fresh(generator, tmp_path, options=options)
    (row,) = train_rows(result)
    assert row["grad_norm"] > 1e-3
    moved = (weights(trained) - before).norm().item()
    assert moved == pytest.approx(2.0 * 1e-3, rel=1e-2)


def test_one_images_steep_reward_counts_no_more_than_its_limit(
    generator: Generator, tmp_path: Path
) -> None:
    def steep(factor: float) -> NamedReward:
        factors = torch.tensor([factor, 1.0])
        return NamedReward(f"steep {factor}", lambda _images, scores: factors * scores)

    options = OPTIONS.changed(steps=1, optimizer="sgd", grad_clip=1e6)

    def step_of(factor: float, limit: float | None) -> torch.Tensor:
        folder = tmp_path / f"{factor}_{limit}"
        limited = options.changed(image_grad_clip=limit)
        trained, _ = train_fresh(generator, folder, options=limited, reward=steep(factor))
        return weights(trained)

    torch.testing.assert_close(step_of(1e5, 0.01), step_of(1e6, 0.01), rtol=0, atol=1e-7)
    assert not torch.allclose(step_of(1e5, None), step_of(1e6, None), rtol=0, atol=1e-3)
    torch.testing.assert_close(step_of(2.0, 1e6), step_of(2.0, None), rtol=0, atol=0)


def test_the_learning_rate_warms_up_linearly_and_stays(
    generator: Generator, tmp_path: Path
) -> None:
    options = OPTIONS.changed(steps=5, warmup_steps=4, learning_rate=0.4)
    _, trained = train_fresh(generator, tmp_path, options=options)
    rates = [row["learning_rate"] for row in train_rows(trained)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_validation_comes_before_training_in_between_and_at_the_end(
    generator: Generator, tmp_path: Path
) -> None:
    validation = Validation(TRAIN, images_per_prompt=2, judges={"red": Redness()}, batch_size=4)
    options = OPTIONS.changed(steps=5, validate_every=2)
    _, trained = train_fresh(generator, tmp_path, options=options, validation=validation)
    rows = [row for row in trained.rows if row.kind == "validation"]
    assert [row.step for row in rows] == [0, 2, 4, 5]
    errors = {"reward_se", "red_se"}
    assert set(rows[0].values) == {"reward", "red", "half_squared_norm_nats", "delta_rms"} | errors


def test_validation_is_the_mean_over_its_fixed_images(generator: Generator, tmp_path: Path) -> None:
    reward = ToyReward()
    validation = Validation(TRAIN, images_per_prompt=2, batch_size=4)
    _, trained = train_fresh(
        generator, tmp_path, options=OPTIONS.changed(steps=1), validation=validation
    )
    scores = []
    for prompt_id, text in TRAIN:
        for index in range(2):
            noise = image_noise(0, prompt_id, index, generator.noise_shape, "validation")
            with torch.no_grad():
                image = generator.sample(noise[None], generator.encode([text]))
            scores.append(reward.score(image, reward.encode([text])).item())
    # The untrained network leaves the base images as they are.
    assert trained.rows[0].values["reward"] == pytest.approx(sum(scores) / 6, rel=1e-4)
    # Two images of each of three prompts: the prompt's mean is what was sampled.
    means = torch.tensor(scores, dtype=torch.float64).reshape(3, 2).mean(dim=1)
    error = float(means.std() / 3**0.5)
    assert trained.rows[0].values["reward_se"] == pytest.approx(error, rel=1e-3)


def test_every_prompt_is_encoded_once(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    original = generator.encode

    def spy(prompts: Any) -> Any:
        encoded.extend(prompts)
        return original(prompts)

    monkeypatch.setattr(generator, "encode", spy)
    reward = ToyReward()
    train_fresh(generator, tmp_path, reward=reward)
    assert sorted(encoded) == sorted(PROMPTS)
    assert reward.n_encoded == len(PROMPTS)


def test_encoding_in_chunks_is_encoding_at_once(generator: Generator) -> None:
    texts = [*PROMPTS, *reversed(PROMPTS)]
    chunked = encode_in_chunks(generator.encode, texts, chunk=4)
    with torch.no_grad():
        at_once = generator.encode(texts)
    assert chunked.prompts == tuple(texts)
    for name, tensor in at_once.tensors.items():
        torch.testing.assert_close(chunked.tensors[name], tensor)
        assert not chunked.tensors[name].requires_grad


class BreaksLater(NamedReward):
    """A reward that turns bad at its fourth batch."""

    def __init__(self, spoil: Any) -> None:
        super().__init__("breaks", self._after_three)
        self.n_scored = 0
        self.spoil = spoil

    def _after_three(self, _images: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.n_scored += 1
        spoilt: torch.Tensor = self.spoil(scores) if self.n_scored > 3 else scores
        return spoilt


SPOILERS = {
    "loss": lambda scores: scores * math.nan,
    # Finite itself; the root's slope at 0 is infinite.
    "grad_norm": lambda scores: scores + (scores * 0).abs().sqrt(),
}


@pytest.mark.parametrize("what", list(SPOILERS))
def test_divergence_stops_and_keeps_the_last_good_checkpoint(
    generator: Generator, tmp_path: Path, what: str, whole_weights: torch.Tensor
) -> None:
    reward = BreaksLater(SPOILERS[what])
    with pytest.raises(TrainingDiverged, match=f"{what} is nan at step 4.*step_000002") as caught:
        train_fresh(generator, tmp_path, reward=reward)
    assert caught.value.step == 4
    assert caught.value.checkpoint == tmp_path / "checkpoints" / "step_000002"
    kept = NoiseNetwork.trained(generator, caught.value.checkpoint)
    assert weights(kept).isfinite().all()
    kept.adapter.remove()
    # Mended, it goes on from there.
    mended, _ = train_fresh(generator, tmp_path, reward=NamedReward("breaks", lambda _i, s: s))
    assert torch.equal(weights(mended), whole_weights)


@pytest.mark.parametrize(("every", "waits"), [(1, 12), (4, 3), (100, 1)])
def test_a_step_waits_for_the_device_only_to_log(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, waits: int
) -> None:
    options = OPTIONS.changed(sync_every=every, checkpoint_every=12, steps=12, batch_size=1)
    options = options.changed(validate_every=12)
    calls = noted_waits(monkeypatch, "training/loop.py", "training/losses.py", "training/draws.py")
    _, trained = train_fresh(generator, tmp_path, options=options)
    monkeypatch.undo()
    assert [row.step for row in trained.rows if row.kind == "train"] == list(range(1, 13))
    # An epoch's order of prompts is made on the CPU: three prompts, twelve draws.
    epochs = 4
    assert calls.count("tolist") == waits + epochs
    assert set(calls) == {"tolist"}


def test_divergence_before_any_checkpoint_says_so(generator: Generator, tmp_path: Path) -> None:
    reward = NamedReward("nan", lambda _images, scores: scores * math.nan)
    with pytest.raises(TrainingDiverged, match="step 1; no checkpoint yet"):
        train_fresh(generator, tmp_path, reward=reward)


def test_a_reward_without_a_gradient_is_refused(generator: Generator, tmp_path: Path) -> None:
    counting = NamedReward("counting", lambda images, _: (images > 0.5).float().mean((1, 2, 3)))
    with pytest.raises(ValueError, match="'counting' has no gradient with regard to the images"):
        train_fresh(generator, tmp_path, reward=counting)


def test_a_validation_that_is_no_number_chooses_no_checkpoint(
    generator: Generator, tmp_path: Path
) -> None:
    judge = NamedReward("judge", lambda _images, scores: scores * math.nan)
    validation = Validation(TRAIN, judges={"taste": judge})
    with pytest.raises(TrainingDiverged, match="taste of the validation is nan at step 0"):
        train_fresh(generator, tmp_path, validation=validation)


def test_bfloat16_training_keeps_float32_weights(generator: Generator, tmp_path: Path) -> None:
    options = OPTIONS.changed(steps=3, precision="bf16")
    half, trained = train_fresh(generator, tmp_path / "half", options=options)
    full, reference = train_fresh(
        generator, tmp_path / "full", options=options.changed(precision="fp32")
    )
    assert {p.dtype for p in half.adapter.parameters()} == {torch.float32}
    assert not torch.equal(weights(half), weights(full))
    for a, b in zip(train_rows(trained), train_rows(reference), strict=True):
        # bfloat16 keeps 8 bits, about 0.4 %, of every activation.
        assert a["reward"] == pytest.approx(b["reward"], rel=0.05)


def test_an_empty_prompt_list_is_refused(generator: Generator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="list of training prompts is empty"):
        train_fresh(generator, tmp_path, prompts=[])
    with pytest.raises(ValueError, match="list of validation prompts is empty"):
        train_fresh(generator, tmp_path, validation=Validation([]))


def test_a_judge_cannot_take_the_training_rewards_name(
    generator: Generator, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="cannot be called 'reward'"):
        train_fresh(generator, tmp_path, validation=Validation(TRAIN, judges={"reward": Redness()}))


def test_a_network_of_another_rank_or_kind_than_its_options_is_refused(
    generator: Generator, tmp_path: Path
) -> None:
    objective = NoiseNetwork(generator, 2, 4.0)
    BUILT.append(objective)
    with pytest.raises(ValueError, match="rank 2 and alpha 4, the options say rank 3 and alpha 4"):
        train(Training(objective, ToyReward(), TRAIN, OPTIONS.changed(rank=3), tmp_path))
    of_a_tuner = LoraOptions(steps=1, rank=2, alpha=4.0)
    with pytest.raises(ValueError, match="hypernoise network needs NoiseNetworkOptions"):
        train(Training(objective, ToyReward(), TRAIN, of_a_tuner, tmp_path))


def test_gradient_checkpointing_is_refused(tmp_path: Path) -> None:
    generator = build_generator("tiny_sd")
    generator.backbone.enable_gradient_checkpointing()  # type: ignore[operator]
    with pytest.raises(ValueError, match="gradient checkpointing"):
        train_fresh(generator, tmp_path)
    BUILT.clear()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "'steps' must be greater than or equal to 1, got 0"),
        ({"batch_size": 0}, "'batch_size' must be greater than or equal to 1"),
        ({"learning_rate": 0.0}, r"'learning_rate' must be greater than 0, got 0\.0"),
        ({"temperature": math.nan}, "'temperature' must be a finite number, got nan"),
        ({"image_grad_clip": 0.0}, r"'image_grad_clip' must be greater than 0, got 0\.0"),
        ({"warmup_steps": -1}, "'warmup_steps' must be greater than or equal to 0"),
        ({"batch_size": 2.5}, "'batch_size' must be a valid integer, got 2.5"),
        ({"optimizer": "adam"}, "'optimizer' must be 'adamw' or 'sgd', got 'adam'"),
        ({"l2_reduction": "means"}, "'l2_reduction' must be 'sum' or 'mean'"),
        ({"precision": "fp16"}, "'precision' must be 'fp32' or 'bf16', got 'fp16'"),
        ({"frequencies": 3}, "unknown training option 'frequencies'.*temperature"),
        ({"temperatur": 3.0}, "'temperatur'; did you mean 'temperature'"),
    ],
)
def test_impossible_options_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KINDS["hypernoise"].checked(OPTIONS.model_dump() | changed)


def test_a_training_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="training option 'steps' is missing"):
        KINDS["lora_finetune"].checked({"rank": 2})


def test_every_kind_knows_its_own_options_and_says_what_each_means() -> None:
    layer = {"steps": 1, "l2_reduction": "mean", "rank": 2, "width": 3, "policy_sigma": 0.5}
    lacks = {name: set(layer) - set(kind.known(layer)) for name, kind in KINDS.items()}
    assert lacks.pop("noise_policy") == {"width"}
    assert lacks.pop("low_frequency") == {"rank", "policy_sigma"}
    assert lacks.pop("lora_finetune") == {"width", "policy_sigma", "l2_reduction"}
    assert lacks == {name: {"width", "policy_sigma"} for name in ("hypernoise", "supervised")}
    for kind in KINDS.values():
        assert all(field.description for field in kind.options.model_fields.values())


def test_options_and_kinds_are_read_without_loading_torch() -> None:
    modules = "hypernoise.training.kinds, hypernoise.networks.audit_options, sys"
    heavy = "{'torch', 'numpy', 'pandas'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import {modules}; print({heavy} or 'light')"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "light"
