"""A trained network as a folder for the hub: what it holds, and what is pushed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from diffusers import StableDiffusionPipeline
from trainings import FINETUNE, model, train_job

from harness.cli import card
from harness.experiment.components import ModelSpec
from harness.stages import train
from hypernoise import NoiseNetwork
from hypernoise.networks.description import DESCRIPTION_FILE, read_description

__all__ = ["model"]


@pytest.fixture(scope="module")
def results(model: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with two trainings, a table and a grid."""
    root = tmp_path_factory.mktemp("results")
    for method, changes in (("hypernoise", {}), ("finetune", {"method": FINETUNE})):
        folder = root / "training" / "tiny_sd" / "red" / method
        train.run(train_job(folder, model, **changes, out=str(folder)))
    for name in ("tables", "figures"):
        (root / name).mkdir()
    table = [
        "| model | method | geneval_mean |",
        "| :-- | :-- | --: |",
        "| tiny_sd | base | 0.613 [0.58, 0.64] |",
        "| tiny_sd | hypernoise | 0.816 [0.75, 0.88] |",
        "| tiny_sana | hypernoise | 0.812 [0.75, 0.86] |",
        "",
        "A note.",
    ]
    (root / "tables" / "table1.md").write_text("\n".join(table))
    (root / "figures" / "grid_tiny_sd.png").write_bytes(b"a picture")
    return root


def written(
    network: Path, out: Path, *, base: str = "an/original", push: str = "", dry: bool = False
) -> Path:
    card.run(network, out, results=None, base=base, push=push, public=False, dry=dry)
    return out


def test_a_folder_for_the_hub_says_all_and_works(
    results: Path, model: ModelSpec, tmp_path: Path
) -> None:
    training = results / "training" / "tiny_sd" / "red" / "hypernoise"
    out = written(training, tmp_path / "hub")
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("README.md", "adapter_config.json", "adapter_model.safetensors", "grid.png"),
        *(DESCRIPTION_FILE, "training.json"),
    }
    text = (out / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["base_model"] == "an/original"
    assert front["pipeline_tag"] == "text-to-image"
    assert front["license"] == "unknown"
    assert "| tiny_sd | hypernoise | 0.816 [0.75, 0.88] |" in text
    assert "tiny_sana" not in text
    assert "A note." not in text
    assert model.weights not in text
    assert json.loads((out / "training.json").read_text())["options"]["rank"] == 2
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "an/original"
    pipe = StableDiffusionPipeline.from_pretrained(model.weights, use_safetensors=True)
    assert NoiseNetwork.from_pretrained(pipe, out)("a red circle").shape == (1, 4, 8, 8)


def test_a_training_of_earlier_code_gets_its_description(results: Path, tmp_path: Path) -> None:
    old = tmp_path / "results" / "training" / "tiny_sd" / "red" / "hypernoise"
    shutil.copytree(results / "training" / "tiny_sd" / "red" / "hypernoise", old)
    for path in old.rglob(DESCRIPTION_FILE):
        path.unlink()
    with_checkpoint = written(old / "checkpoints" / "step_000002", tmp_path / "step")
    for out, step in ((written(old, tmp_path / "kept"), 4), (with_checkpoint, 2)):
        told = read_description(out)
        assert told is not None
        assert (told.kind, told.step, told.pipeline) == (
            "hypernoise",
            step,
            "StableDiffusionPipeline",
        )
    assert not (old / DESCRIPTION_FILE).exists()


def test_a_fine_tuning_is_written_for_the_pipelines_own_loader(
    results: Path, tmp_path: Path
) -> None:
    out = written(results / "training" / "tiny_sd" / "red" / "finetune", tmp_path / "hub")
    assert (out / "pytorch_lora_weights.safetensors").is_file()
    assert 'load_lora_weights("OWNER/NAME")' in (out / "README.md").read_text()


def test_places_of_this_machine_and_folders_with_files_are_refused(
    results: Path, tmp_path: Path
) -> None:
    training = results / "training" / "tiny_sd" / "red" / "hypernoise"
    with pytest.raises(ValueError, match="only this machine has: --base"):
        written(training, tmp_path / "hub", base="")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        written(training, tmp_path / "full")
    with pytest.raises(FileNotFoundError, match="no training"):
        written(tmp_path, tmp_path / "hub")
    with pytest.raises(ValueError, match="no repository of the hub"):
        written(training, tmp_path / "hub", push="nowhere")


def test_a_push_makes_a_private_repository_of_the_folder_and_a_dry_run_none(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def create_repo(self, repo_id: str, **given: Any) -> None:
            calls.append((repo_id, given))

        def upload_folder(self, **given: Any) -> None:
            calls.append((given["repo_id"], {"folder": given["folder_path"]}))

    monkeypatch.setattr(card, "HfApi", Api)
    training = results / "training" / "tiny_sd" / "red" / "hypernoise"
    written(training, tmp_path / "dry", push="an/adapter", dry=True)
    assert not calls
    assert "would be pushed to an/adapter (private)" in capsys.readouterr().out
    out = written(training, tmp_path / "hub", push="an/adapter")
    assert calls == [
        ("an/adapter", {"private": True, "exist_ok": True}),
        ("an/adapter", {"folder": str(out)}),
    ]
