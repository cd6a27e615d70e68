"""Which weights made a frame stands in its provenance, and two states of them make no table."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import harness_toys as toys
import measured
import pytest

from harness.base.errors import SpecError
from harness.experiment.component_files import declared
from harness.experiment.components import RewardSpec, SimilaritySpec
from harness.experiment.jobs import ScoreJob
from harness.experiment.weight_files import weights_of
from harness.results import component_versions, frames, provenance, weight_hashes
from harness.results.weight_hashes import WeightFile, hashes

REGISTRY = declared(Path(__file__).parents[3] / "workflows")
SHIPPED = Path("hypernoise/shapeworld/weights")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_weight_file_of_the_embedded_world_is_known_from_its_declaration() -> None:
    files = weights_of(
        REGISTRY.models["tiny_sd"],
        REGISTRY.reward("matcher_judge"),
        comparisons={"distance": SimilaritySpec("harness.similarity.matcher:MatcherDistance")},
    )
    found = hashes(files)
    judge = sha256((SHIPPED / "matcher_judge.safetensors").read_bytes())
    assert found["reward matcher_judge"] == {"weights": judge}
    # The comparison's is the default of its class.
    matcher = sha256((SHIPPED / "matcher.safetensors").read_bytes())
    assert found["similarity distance"] == {"weights": matcher}
    unet = SHIPPED / "tiny_sd" / "unet" / "diffusion_pytorch_model.safetensors"
    role = "weights/unet/diffusion_pytorch_model.safetensors"
    assert found["model tiny_sd"][role] == sha256(unet.read_bytes())
    assert "weights/scheduler/scheduler_config.json" in found["model tiny_sd"]


def test_a_pinned_file_has_the_hash_of_its_pin_and_parts_of_sums_have_their_own() -> None:
    found = hashes(weights_of(REGISTRY.reward("human_preference")))
    assert "reward human_preference" not in found
    pin = "c57a38fb4a2f7e7c15bf00da2ea377cdf165448b4dd1052a484c215a998c9837"
    assert found["reward hpsv2_1"]["weights"] == pin


def test_an_answerer_and_a_detector_of_a_benchmark_are_among_its_weights() -> None:
    files = weights_of(REGISTRY.benchmarks["geneval"], REGISTRY.benchmarks["t2i_compbench"])
    named = {(file.component, file.role) for file in files}
    assert ("benchmark geneval", "detector") in named
    assert ("benchmark geneval", "clip") in named
    assert ("benchmark t2i_compbench", "answerer.vocabulary") in named


def test_files_of_a_hub_repository_are_those_of_its_commit_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "a" * 40
    snapshot = tmp_path / "models--owner--name" / "snapshots" / commit
    (snapshot / "unet").mkdir(parents=True)
    (snapshot / "unet" / "a.safetensors").write_bytes(b"weights")
    (snapshot / "unet" / "picture.png").write_bytes(b"no weights")
    file = WeightFile("model m", "weights", "owner/name", commit=commit)
    assert hashes([file]) == {"model m": {"weights/unet/a.safetensors": sha256(b"weights")}}


@dataclass(frozen=True)
class Job:
    """A job that loads some weights."""

    name: str
    weights: ClassVar[tuple[WeightFile, ...]]


def test_weights_that_a_job_is_the_first_to_download_are_in_its_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit, local = "a" * 40, tmp_path / "local.safetensors"
    local.write_bytes(b"before")
    snapshot = tmp_path / "models--owner--name" / "snapshots" / commit
    (snapshot / "unet").mkdir(parents=True)
    # The check before a job fetches the index alone.
    (snapshot / "model_index.json").write_bytes(b"index")
    Job.weights = (
        WeightFile("model m", "weights", "owner/name", commit=commit),
        WeightFile("reward r", "weights", str(local)),
    )
    before = hashes(Job.weights)
    (snapshot / "unet" / "a.safetensors").write_bytes(b"weights")
    local.write_bytes(b"changed meanwhile")
    record = json.loads(provenance.collect("images", Job("j"), weights=before))
    assert record["weights"] == {
        "model m": {
            "weights/model_index.json": sha256(b"index"),
            "weights/unet/a.safetensors": sha256(b"weights"),
        },
        "reward r": {"weights": sha256(b"before")},
    }


def test_a_large_file_is_read_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weight_hashes, "LARGE_BYTES", 4)
    path = tmp_path / "large.safetensors"
    file = WeightFile("model m", "weights", str(path))
    path.write_bytes(b"first state")
    assert hashes([file])["model m"]["weights"] == sha256(b"first state")
    with monkeypatch.context() as patched:
        patched.delattr(weight_hashes, "sha256_of")
        assert hashes([file])["model m"]["weights"] == sha256(b"first state")
    stat = path.stat()
    path.write_bytes(b"other state")
    # A forger sets the time back; that of the inode's change he cannot.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert hashes([file])["model m"]["weights"] == sha256(b"other state")


def scored(folder: Path, name: str, weights: Path) -> Path:
    """A frame of scores by a reward of one name, whatever its weights."""
    reward = RewardSpec("judge", "hypernoise.rewards.matcher:ShapeMatcher", 1)
    reward = replace(reward, arguments={"weights": str(weights)})
    path = folder / name
    job = ScoreJob(toys.BENCHMARK, {"judge_reward": reward}, (), str(path))
    frames.write(measured.scores(), path, "scores", job)
    return path


def test_a_reward_of_one_name_and_two_states_of_its_weights_stops_a_table(tmp_path: Path) -> None:
    honest = scored(tmp_path, "a.parquet", SHIPPED / "matcher_judge.safetensors")
    same = scored(tmp_path, "b.parquet", SHIPPED / "matcher_judge.safetensors")
    component_versions.check([honest, same])
    # Same name and version, weights of another: what the review found to pass.
    twin = scored(tmp_path, "c.parquet", SHIPPED / "matcher.safetensors")
    with pytest.raises(SpecError) as caught:
        component_versions.check([honest, same, twin])
    for words in ("different weights are mixed", "weights of reward judge", str(twin)):
        assert words in str(caught.value)
    record = frames.read_provenance(honest)
    judge = sha256((SHIPPED / "matcher_judge.safetensors").read_bytes())
    assert record["weights"] == {"reward judge": {"weights": judge}}
    assert json.dumps(record["weights"]) not in json.dumps(frames.read_provenance(twin))
