"""Weights of a frame against those of this machine, where they are a repository of the hub."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from paths import REPOSITORY

from harness.experiment.component_files import declared
from harness.results.results_folder import Made, Survey
from harness.verification import origins
from harness.verification.findings import Folder


def test_of_a_commit_of_the_hub_those_files_are_compared_that_both_machines_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = Folder(Survey([], []), declared(REPOSITORY / "workflows"))
    spec = folder.registry.models["sd_turbo"]
    (named,) = origins.weights_of(spec)
    monkeypatch.setattr(origins, "weights_of_job", lambda made: (named,))
    named.root.mkdir(parents=True)
    for name in ("model_index.json", "only_here.safetensors"):
        (named.root / name).write_bytes(name.encode())
    index = hashlib.sha256(b"model_index.json").hexdigest()

    def found(**hashes: str) -> list[str]:
        told = {f"weights/{name}.json": sha256 for name, sha256 in hashes.items()}
        made = Made(tmp_path / "f.parquet", {"weights": {named.component: told}}, tmp_path)
        return [str(finding) for finding in origins.Weights(folder).check(made, folder)]

    assert found(model_index=index, only_there="0" * 64) == []
    (line,) = found(model_index="0" * 64)
    assert "was made with other weights of model sd_turbo" in line
    assert line.endswith("the SHA-256 differs of weights/model_index.json")
