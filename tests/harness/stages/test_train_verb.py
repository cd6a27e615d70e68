"""The verbs train, match and pretrain: what they leave behind, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import harness_toys
import pandas as pd
import pytest
import torch
from harness_toys import METHOD, MODEL, REWARD, generate_job, one_weight_file
from paths import SUPPORT
from safetensors.torch import load_file
from trainings import HYPERNOISE, OPTIONS, REDNESS, model, train_job

import harness
import hypernoise
from harness.build.generators import build_generator as load_generator
from harness.build.methods import build_method
from harness.cli.verify import verify
from harness.experiment.components import ModelSpec, PromptsSpec, Registry
from harness.experiment.jobs import MatchJob, PretrainJob, Timed, TrainJob
from harness.experiment.validation import to_json
from harness.results import frames
from harness.results.results_folder import survey
from harness.results.training_folder import NETWORK_FILES, network_files
from harness.stages import pretrain, stop_at_reward, train
from hypernoise.rewards.matcher import ShapeMatcher
from hypernoise.training.kinds import KINDS
from hypernoise.training.loop import Training
from hypernoise.training.measurements import Row, TrainingDiverged
from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE

__all__ = ["model"]


def test_training_publishes_adapter_checkpoints_and_measurements(
    model: ModelSpec, tmp_path: Path
) -> None:
    train.run(train_job(tmp_path, model))
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    adapter = ("adapter_config.json", "adapter_model.safetensors", "hypernoise.json")
    folders = ("out", "out/checkpoints/step_000002", "out/checkpoints/step_000004")
    assert files == {f"{folder}/{name}" for folder in folders for name in adapter} | {
        "out/steps.parquet"
    }
    rows = frames.read(tmp_path / "out" / "steps.parquet", "training")
    assert set(rows["method"]) == {"hypernoise"}
    assert set(rows["reward"]) == {"red"}
    validated = rows[(rows["kind"] == "validation") & (rows["name"] == "judge")]
    assert validated["step"].tolist() == [0, 2, 4]
    kept = rows[(rows["kind"] == "kept") & (rows["name"] == "reward")]
    assert kept["step"].tolist() == [4]
    losses = rows[(rows["kind"] == "train") & (rows["name"] == "loss")]
    assert losses["step"].tolist() == [1, 2, 3, 4]
    KINDS["hypernoise"].load(load_generator(model, "cpu"), tmp_path / "out")


def test_a_method_can_use_a_checkpoint_of_its_training(model: ModelSpec, tmp_path: Path) -> None:
    train.run(train_job(tmp_path, model))
    generator = load_generator(model, "cpu")
    early = dataclasses.replace(HYPERNOISE, checkpoint=2)
    method: Any = build_method(early, generator, str(tmp_path / "out"))
    saved = load_file(tmp_path / "out" / "checkpoints" / "step_000002" / WEIGHTS_FILE)
    assert set(map(float, (w.double().sum() for w in saved.values()))) == set(
        float(w.detach().double().sum()) for w in method._network.adapter.parameters()
    )
    assert NETWORK_FILES == (CONFIG_FILE, WEIGHTS_FILE)
    for step in (None, 2, 4):
        assert all(Path(file).is_file() for file in network_files(str(tmp_path / "out"), step))
    never = dataclasses.replace(HYPERNOISE, checkpoint=3)
    with pytest.raises(ValueError, match=r"checkpoint of step 3, .*; there: 2, 4"):
        build_method(never, generator, str(tmp_path / "out"))


def test_rows_of_a_training_have_its_methods_name(model: ModelSpec, tmp_path: Path) -> None:
    named = dataclasses.replace(HYPERNOISE, name="hypernoise_alpha_1")
    job = train_job(tmp_path, model, method=named)
    rows = train.to_frame(job, [Row("train", 1, {"loss": 1.0})])
    assert rows["method"].to_list() == ["hypernoise_alpha_1"]


def in_two_processes(job: TrainJob) -> subprocess.CompletedProcess[str]:
    folders = [str(Path(module.__file__).parents[1]) for module in (harness, hypernoise)]
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "harness", "train", "--job", to_json(job)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*folders, str(SUPPORT)])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_processes_that_a_launcher_started_train_together(model: ModelSpec, tmp_path: Path) -> None:
    done = in_two_processes(train_job(tmp_path / "two", model))
    assert done.returncode == 0, done.stderr
    train.run(train_job(tmp_path / "one", model))
    one, two = (load_file(tmp_path / n / "out" / WEIGHTS_FILE) for n in ("one", "two"))
    for name, weight in one.items():
        # The same sums in another order; Adam divides them by their own size.
        torch.testing.assert_close(two[name], weight, rtol=1e-2, atol=1e-5)
    names = [path.name for path in sorted((tmp_path / "two" / "out").iterdir())]
    assert names == [*NETWORK_FILES, "checkpoints", "hypernoise.json", "steps.parquet"]
    assert not (tmp_path / "two" / "work").exists()


def test_a_killed_training_continues_and_a_changed_one_starts_afresh(
    model: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.run(train_job(tmp_path / "whole", model))

    def kill(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    started: list[int] = []
    original = train.train

    def watched(training: Training, progress: str) -> Any:
        noted = dataclasses.replace(training, on_row=lambda row: started.append(row.step))
        return original(noted, progress)

    monkeypatch.setattr(train, "train", watched)
    for changes in ({}, {"options": OPTIONS | {"learning_rate": 0.01}}):
        folder = tmp_path / f"killed{len(changes)}"
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(train, "publish", kill)
            train.run(train_job(folder, model))
        assert not (folder / "out").exists()
        started.clear()
        train.run(train_job(folder, model, **changes))
        assert bool(started) == bool(changes)
    name = "out/adapter_model.safetensors"
    whole, resumed, changed = (
        (tmp_path / run / name).read_bytes() for run in ("whole", "killed0", "killed1")
    )
    assert resumed == whole
    assert changed != whole


def test_a_training_that_diverges_keeps_its_last_good_checkpoint(
    model: ModelSpec, tmp_path: Path
) -> None:
    options = OPTIONS | {"learning_rate": 1e30, "checkpoint_every": 1}
    with pytest.raises(TrainingDiverged, match="at step 2"):
        train.run(train_job(tmp_path, model, options=options))
    kept = (tmp_path / "work" / "checkpoints").glob("step_*/adapter_model.safetensors")
    assert [path.parent.name for path in kept] == ["step_000001"]
    assert not (tmp_path / "out").exists()


def test_a_training_that_its_last_step_ruins_publishes_nothing(
    model: ModelSpec, tmp_path: Path
) -> None:
    options = OPTIONS | {"learning_rate": 1e30, "steps": 1}
    with pytest.raises(TrainingDiverged, match="of the validation is nan at step 1"):
        train.run(train_job(tmp_path, model, options=options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": OPTIONS | {"step": 3}}, "unknown training option 'step'.*'steps'"),
        ({"options": {}}, "training option 'steps' is missing"),
        ({"options": OPTIONS | {"steps": 0}}, "'steps' must be .* or equal to 1, got 0"),
        (
            {"options": OPTIONS | {"optimizer": "adam"}},
            "'optimizer' must be 'adamw' or 'sgd', got 'adam'",
        ),
        ({"method": dataclasses.replace(HYPERNOISE, trains=None)}, "'hypernoise' trains nothing"),
        ({"extra_rewards": {"reward": REDNESS}}, "cannot be called 'reward'"),
        (
            {"train_prompts": PromptsSpec("harness_toys:prompts", {"n": 0})},
            r"prompts\(n=0\) gives no prompts",
        ),
        (
            {"reward": dataclasses.replace(REWARD, arguments={"weights": "lost.safetensors"})},
            r"lost\.safetensors is missing",
        ),
    ],
)
def test_a_training_that_cannot_be_carried_out_stops_before_anything_is_loaded(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    harness_toys.reset()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train.run(train_job(tmp_path, MODEL, **changes))
    assert harness_toys.ToyGenerator.built == 0
    assert list(tmp_path.iterdir()) == []


def rewards(*values: float, every: int = 10, method: str = "lora_finetune") -> pd.DataFrame:
    """Validation rewards at steps 0, ``every``, … and rows that are no such thing."""
    wanted = pd.DataFrame(
        {
            "model": "m",
            "method": method,
            "reward": "red",
            "training_seed": 0,
            "kind": "validation",
            "step": [every * index for index in range(len(values))],
            "name": "reward",
            "value": list(values),
        }
    )
    judged = wanted.assign(name="judge", value=99.0)
    trained = wanted.assign(kind="train", value=99.0)
    return pd.concat([trained, judged, wanted.iloc[::-1]], ignore_index=True)


NOISE = rewards(0.0, 5.0, 2.0, method="hypernoise")
# What the training kept: neither the best nor the last of its validations.
KEPT = NOISE[NOISE["kind"] == "validation"].assign(kind="kept", step=20, value=2.0)
NOISE = pd.concat([NOISE.replace({"value": {2.0: 4.0}}), KEPT.drop_duplicates("name")])


def test_the_first_checkpoint_that_reaches_the_kept_reward_is_chosen() -> None:
    found = stop_at_reward.choose(rewards(0.0, 1.0, 2.5, 1.0, 3.0), NOISE, [10, 20, 30, 40])
    assert found == stop_at_reward.Match(step=20, reward=2.5, target=2.0, reached=True)
    assert stop_at_reward.choose(rewards(0.0, 2.0, 9.0), NOISE, [10, 20]).step == 10


def test_only_steps_with_a_checkpoint_can_be_chosen() -> None:
    assert stop_at_reward.choose(rewards(9.0, 9.0, 9.0, 9.0), NOISE, [20, 30]).step == 20
    with pytest.raises(ValueError, match=r"not validated at any of its checkpoints \[15, 25\]"):
        stop_at_reward.choose(rewards(0.0, 1.0), NOISE, [25, 15])
    with pytest.raises(ValueError, match="the noise network has no validation rewards"):
        stop_at_reward.choose(rewards(0.0), NOISE[NOISE["kind"] != "kept"], [0])


def test_a_reward_that_is_never_reached_takes_the_nearest_checkpoint_and_says_so() -> None:
    found = stop_at_reward.choose(rewards(0.0, 1.5, 1.0), NOISE, [10, 20])
    assert found == stop_at_reward.Match(step=10, reward=1.5, target=2.0, reached=False)


def trainings(folder: Path) -> MatchJob:
    tuned, noise = folder / "tuned", folder / "noise"
    frames.write(rewards(0.0, 1.0, 3.0), tuned / "steps.parquet", "training", {})
    frames.write(NOISE, noise / "steps.parquet", "training", {})
    for step in (10, 20):
        checkpoint = tuned / "checkpoints" / f"step_{step:06d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "adapter_config.json").write_text(str(step))
        (checkpoint / "adapter_model.safetensors").write_text(f"weights {step}")
    return MatchJob(str(tuned), str(noise), "red", str(folder / "matched"))


def test_matching_copies_the_adapter_and_records_the_choice(tmp_path: Path) -> None:
    job = trainings(tmp_path)
    stop_at_reward.run(job)
    assert (tmp_path / "matched" / "adapter_model.safetensors").read_text() == "weights 20"
    assert (tmp_path / "matched" / "adapter_config.json").read_text() == "20"
    record = json.loads((tmp_path / "matched" / "match.json").read_text())
    assert (record["step"], record["reached"], record["target"]) == (20, True, 2.0)


def test_a_matched_network_says_what_it_was_chosen_from_and_whether_that_still_stands(
    tmp_path: Path,
) -> None:
    job = trainings(tmp_path)
    stop_at_reward.run(job)
    (made,) = (made for made in survey(tmp_path).made if made.kind == "match")
    assert set(made.inputs) == {
        str(tmp_path / "tuned" / "steps.parquet"),
        str(tmp_path / "tuned" / "checkpoints"),
        str(tmp_path / "noise" / "steps.parquet"),
    }
    own = str(tmp_path / "matched")
    assert not [
        found for found in verify(survey(tmp_path), Registry()) if found.file.startswith(own)
    ]
    (tmp_path / "tuned" / "checkpoints" / "step_000010" / "adapter_config.json").write_text("11")
    (tmp_path / "matched" / "adapter_model.safetensors").write_text("others")
    found = "\n".join(map(str, verify(survey(tmp_path), Registry())))
    assert "adapter_model.safetensors: is missing or was changed after it was made" in found
    assert f"was made from another state of {tmp_path / 'tuned' / 'checkpoints'}" in found


def test_a_trained_method_reads_the_checkpoint_that_it_uses_and_nothing_else() -> None:
    at_20 = dataclasses.replace(HYPERNOISE, checkpoint=20)
    kept, one = Timed(HYPERNOISE, "of"), Timed(at_20, "of")
    assert kept.reads == ("of/adapter_config.json", "of/adapter_model.safetensors")
    folder = "of/checkpoints/step_000020"
    assert one.reads == (f"{folder}/adapter_config.json", f"{folder}/adapter_model.safetensors")
    generated = generate_job(Path(), method=at_20, adapter="of")
    assert generated.reads == one.reads
    assert Timed(METHOD).reads == generate_job(Path()).reads == ()


def test_matching_refuses_trainings_on_another_reward_or_without_checkpoints(
    tmp_path: Path,
) -> None:
    job = trainings(tmp_path)
    with pytest.raises(ValueError, match="tuned was trained on red, not matcher"):
        stop_at_reward.run(dataclasses.replace(job, reward="matcher"))
    with pytest.raises(FileNotFoundError, match="no checkpoints in"):
        swapped = {"finetune": job.hypernoise, "hypernoise": job.finetune}
        stop_at_reward.run(dataclasses.replace(job, **swapped))


def test_a_tiny_generator_is_pretrained_to_a_folder_that_loads(tmp_path: Path) -> None:
    phase = {"steps": 2, "learning_rate": 1e-3, "task_weights": {"position": 1.0}}
    changes = {"phases": [phase] * 2, "vae_steps": 2, "batch_size": 4, "vae_batch_size": 4}
    out = tmp_path / "deep" / "tiny_sd"
    pretrain.run(PretrainJob("generator", "tiny_sd", str(out), changes=changes))
    spec = ModelSpec("tiny_sd", "hypernoise.models.unet:SdTurbo", 1, weights=str(out), size_px=32)
    generator = load_generator(spec, "cpu")
    images = generator.sample(torch.zeros(1, *generator.noise_shape), generator.encode(["a ring"]))
    assert torch.isfinite(images).all()
    assert [path.name for path in out.parent.iterdir()] == ["tiny_sd"]


def test_a_matcher_is_pretrained_to_a_file_that_loads(model: ModelSpec, tmp_path: Path) -> None:
    changes = {
        "steps": 1,
        "batch_size": 4,
        "n_generated": 4,
        "n_rendered": 4,
        "stem": [8, 16],
        "width": 32,
        "layers": 1,
    }
    out = tmp_path / "matcher.safetensors"
    job = PretrainJob("matcher", "matcher", str(out), changes=changes, models=(model,))
    pretrain.run(job)
    reward = ShapeMatcher(str(out))
    scores = reward.score(torch.zeros(2, 3, 32, 32), reward.encode(["a photo of a ring"] * 2))
    assert scores.shape == (2,)
    assert list(tmp_path.iterdir()) == [out]


def test_a_pretraining_that_cannot_be_carried_out_says_why(tmp_path: Path) -> None:
    def check(kind: Any, recipe: str, **fields: Any) -> None:
        pretrain.check(PretrainJob(kind, recipe, "out", **fields))

    with pytest.raises(ValueError, match=r"unknown recipe for a generator 'tiny_sdd'.*'tiny_sd'"):
        check("generator", "tiny_sdd")
    with pytest.raises(
        ValueError, match=r"unknown field of recipe 'tiny_sd' 'vae_step'.*'vae_steps'"
    ):
        check("generator", "tiny_sd", changes={"vae_step": 1})
    with pytest.raises(ValueError, match="at least one model"):
        check("matcher", "matcher")
    one_weight_file(tmp_path / "w")
    next(tmp_path.rglob("*.safetensors")).unlink()
    broken = dataclasses.replace(MODEL, weights=str(tmp_path / "w"))
    with pytest.raises(FileNotFoundError, match="no safetensors weights"):
        check("matcher", "matcher", models=(broken,))
