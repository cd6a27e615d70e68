"""A trained network as a folder for the hub: what it holds, and what is pushed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from diffusers import StableDiffusionPipeline
from huggingface_hub.errors import RepositoryNotFoundError
from paths import REPOSITORY
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from published import published
from scripts import save_noise_network
from trainings import FINETUNE, HYPERNOISE, REDNESS, model, train_job

from harness.cli import card
from harness.experiment.components import BenchmarkSpec, MethodSpec, ModelSpec, RewardSpec
from harness.experiment.jobs import GenerateJob
from harness.results import frames
from harness.results.training_folder import NETWORK_FILES
from harness.stages import train
from hypernoise import NoiseNetwork
from hypernoise.models.unet import SdTurbo
from hypernoise.networks.description import DESCRIPTION_FILE, Description, read_description
from hypernoise.weights.pins import sha256_of

__all__ = ["model"]

BASE = f"an/original@{'b' * 40}"
MATCHED = replace(FINETUNE, state="matched")
FINAL = replace(FINETUNE, name="finetune_final")
BENCHMARK = BenchmarkSpec("toy", "harness.benchmarks.shapeworld:ShapeWorld", version=1)
OTHER = replace(REDNESS, name="blue")


def add_images(
    root: Path, model: ModelSpec, method: MethodSpec, reward: RewardSpec | None, network: Path
) -> str:
    """An image frame as the run has it of a method with a network; gives its place in the run."""
    inputs = {name: sha256_of(network / name) for name in NETWORK_FILES} if reward else {}
    name = reward.name if reward else ""
    place = f"images/toy/{model.name}/{method.name}/{name or 'none'}/steps1/images.parquet"
    row: dict[str, Any] = {column.name: "" for column in frames.IMAGES.columns}
    row |= {"model": model.name, "method": method.name, "reward": name, "steps": 1, "seed": 0}
    row |= {"training_seed": None, "image_index": 0, "nfe": 1.0, "reward_calls": 0.0}
    row |= {"backward_passes": 0.0, "batch_size": None, "metadata": "{}"}
    types = {column.name: column.dtype for column in frames.IMAGES.columns}
    frame = pd.DataFrame([row]).astype(
        {n: {"int64": "Int64", "float64": "float64"}.get(t, "string") for n, t in types.items()}
    )
    job = GenerateJob(model, method, reward, BENCHMARK, 1, 0, 1, str(network), place, "work")
    frames.write(frame, root / place, "images", job, inputs=inputs)
    return place


@pytest.fixture(scope="module")
def results(model: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder: trainings on two rewards, images of their networks, a table and a grid."""
    root = tmp_path_factory.mktemp("results")
    for method, reward in ((HYPERNOISE, REDNESS), (HYPERNOISE, OTHER), (MATCHED, REDNESS)):
        folder = root / "training" / "tiny_sd" / reward.name / method.name
        job = train_job(folder, model, method=method, reward=reward, out=str(folder))
        train.run(replace(job, options=dict(job.options) | {"seed": len(reward.name)}))
    red = root / "training" / "tiny_sd" / "red"
    searched = replace(HYPERNOISE, name="hypernoise_best", search="best_of_n")
    drawn = [
        add_images(root, model, HYPERNOISE, REDNESS, red / "hypernoise"),
        add_images(root, model, searched, REDNESS, red / "hypernoise"),
        add_images(root, model, MATCHED, REDNESS, red / "finetune"),
    ]
    for name in ("tables", "figures"):
        (root / name).mkdir()
    table = [
        "| model | method | reward | steps | geneval_mean |",
        "| :-- | :-- | :-- | --: | --: |",
        "| tiny_sd | base |  | 1 | 0.613 [0.58, 0.64] |",
        "| tiny_sd | base |  | 2 | 0.614 [0.58, 0.64] |",
        "| tiny_sd | hypernoise | red | 1 | 0.816 [0.75, 0.88] |",
        "| tiny_sd | hypernoise_best | red | 1 | 0.916 [0.75, 0.88] |",
        "| tiny_sd | finetune | red | 1 | 0.516 [0.45, 0.58] |",
        "| tiny_sd | finetune_final | red | 1 | 0.416 [0.35, 0.48] |",
        "| tiny_sana | hypernoise | red | 1 | 0.812 [0.75, 0.86] |",
        "",
        "A note.",
    ]
    (root / "tables" / "table1.md").write_text("\n".join(table))
    about = PngInfo()
    inputs = {f"results/{place}": "0" for place in drawn}
    about.add_text("Description", json.dumps({"inputs": inputs}))
    Image.new("RGB", (2, 2)).save(root / "figures" / "grid_tiny_sd.png", pnginfo=about)
    return root


def written(
    network: Path,
    out: Path,
    *,
    base: str = BASE,
    push: str = "",
    public: bool = False,
    dry: bool = False,
) -> Path:
    card.run(network, out, results=None, base=base, push=push, public=public, dry=dry)
    return out


def script_of(text: str) -> str:
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


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
    assert "A note." not in text
    assert model.weights not in text
    assert json.loads((out / "training.json").read_text())["options"]["rank"] == 2
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "an/original"
    pipe = StableDiffusionPipeline.from_pretrained(model.weights, use_safetensors=True)
    assert NoiseNetwork.from_pretrained(pipe, out)("a red circle").shape == (1, 4, 8, 8)


def test_the_cards_script_runs_with_the_models_steps_guidance_and_size(
    results: Path, model: ModelSpec, tmp_path: Path
) -> None:
    for method in ("hypernoise", "finetune"):
        out = written(results / "training" / "tiny_sd" / "red" / method, tmp_path / method)
        code = script_of((out / "README.md").read_text())
        assert "num_inference_steps=1, height=32, width=32, guidance_scale=0.0" in code
        code = code.replace('"an/original"', repr(model.weights)).replace(
            f'revision="{"b" * 40}"', "use_safetensors=True"
        )
        names: dict[str, Any] = {}
        exec(code.replace('"OWNER/NAME"', repr(str(out))), names)
        assert names["images"][0].size == (32, 32)


def test_only_rows_of_this_very_network_are_shown(results: Path, tmp_path: Path) -> None:
    trainings = results / "training" / "tiny_sd"
    text = (written(trainings / "red" / "hypernoise", tmp_path / "own") / "README.md").read_text()
    shown = [line for line in text.splitlines() if line.startswith("| tiny_")]
    assert shown == [
        "| tiny_sd | base |  | 1 | 0.613 [0.58, 0.64] |",
        "| tiny_sd | hypernoise | red | 1 | 0.816 [0.75, 0.88] |",
    ]
    others = (
        trainings / "blue" / "hypernoise",
        trainings / "red" / "finetune",
        trainings / "red" / "hypernoise" / "checkpoints" / "step_000002",
        trainings / "red" / "hypernoise" / "checkpoints" / "step_000004",
    )
    for number, other in enumerate(others):
        out = written(other, tmp_path / str(number))
        text = (out / "README.md").read_text()
        assert "| tiny_" not in text, other
        assert not (out / "grid.png").exists(), other
        assert ("no row of this network" in text) == (other.parent.name != "checkpoints")


def test_the_end_of_a_training_has_the_row_of_the_method_that_takes_it(
    results: Path, model: ModelSpec, tmp_path: Path
) -> None:
    root = tmp_path / "results"
    shutil.copytree(results, root)
    training = root / "training" / "tiny_sd" / "red" / "finetune"
    add_images(root, model, FINAL, REDNESS, training)
    out = written(training, tmp_path / "hub")
    text = (out / "README.md").read_text()
    assert "| tiny_sd | finetune_final | red | 1 | 0.416 [0.35, 0.48] |" in text
    assert "| tiny_sd | finetune |" not in text
    # That grid has no image of it.
    assert not (out / "grid.png").exists()


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


def told(spec: ModelSpec, moves_noise: bool = True, **changes: Any) -> Description:
    given = {
        "kind": "hypernoise" if moves_noise else "lora_finetune",
        "moves_noise": moves_noise,
        "base": spec.weights,
        "revision": spec.revision,
        "base_lora": spec.arguments.get("lora", ""),
        "pipeline": {f.target: name for name, f in card.FAMILIES.items()}[spec.target],
        "arguments": {k: v for k, v in spec.arguments.items() if k not in ("lora", "vae_savings")},
        "size_px": spec.size_px,
    }
    return Description(**given | changes)


def text_of(told: Description, steps: int, folder: Path) -> str:
    named: dict[str, Any] = {"name": "", "version": 1}
    facts: dict[str, Any] = {"method": named, "reward": named, "options": {}, "packages": {}}
    facts |= {"prompts": "", "commit": "", "written": ""}
    return card.card(told, facts, {}, "an/adapter", card.script(told, steps, folder))


@pytest.mark.parametrize("spec", published(), ids=lambda spec: spec.name)
def test_every_published_model_has_a_script_with_all_that_makes_its_base(
    spec: ModelSpec, tmp_path: Path
) -> None:
    code = script_of(text_of(told(spec), spec.steps, tmp_path))
    compile(code, spec.name, "exec")
    assert f"num_inference_steps={spec.steps}, height={spec.size_px}" in code
    for name in ("lora", "scheduler", "distilled"):
        assert (f"{name}={spec.arguments.get(name)!r}," in code) == (name in spec.arguments)
    for _, name in re.findall(r"from (\S+) import (\w+)", code):
        assert code.count(name) > 1


def test_a_script_is_left_out_where_the_pipeline_takes_no_such_network(tmp_path: Path) -> None:
    specs = {spec.name: spec for spec in published()}
    pixart = text_of(told(specs["pixart_alpha_dmd"], moves_noise=False), 1, tmp_path)
    assert "`PixArtAlphaPipeline` loads no LoRA" in pixart
    own = told(specs["sd_turbo"], pipeline="OwnPipeline")
    assert "`OwnPipeline` is no pipeline of this project" in text_of(own, 1, tmp_path)
    for text in (pixart, text_of(own, 1, tmp_path)):
        assert "```python" not in text
        assert "load_lora_weights" not in text


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("", {"license": "unknown"}),
        (
            "Stability AI Non-Commercial Research Community (sai-nc-community)",
            {
                "license": "other",
                "license_name": "stability-ai-non-commercial-research-community-sai-nc-community",
                "license_link": "https://huggingface.co/stabilityai/sd-turbo",
            },
        ),
    ],
)
def test_a_licence_is_one_that_the_hub_knows_or_another_by_its_name(
    licence: str, expected: dict[str, str], tmp_path: Path
) -> None:
    spec = next(spec for spec in published() if spec.name == "sd_turbo")
    text = text_of(told(spec, base_licence=licence), 1, tmp_path)
    front = yaml.safe_load(text.split("---")[1])
    assert {key: value for key, value in front.items() if key.startswith("license")} == expected


def test_places_of_this_machine_and_folders_with_files_are_refused(
    results: Path, tmp_path: Path
) -> None:
    training = results / "training" / "tiny_sd" / "red" / "hypernoise"
    with pytest.raises(ValueError, match="only this machine has: --base"):
        written(training, tmp_path / "hub", base="")
    for base in ("an/original", "an/original@main", "weights/of/mine"):
        with pytest.raises(ValueError, match=f"--base {base}: must be OWNER/NAME@COMMIT"):
            written(training, tmp_path / "hub", base=base)
    spec = next(spec for spec in published() if spec.name == "sd_turbo")
    for place in ("hypernoise/shapeworld/weights/tiny_sd", "weights/tiny_sd"):
        with pytest.raises(ValueError, match=f"trained on {place}, which only this machine has"):
            card.in_hub(told(spec, base=place, revision=""), "")
    with pytest.raises(ValueError, match=r"the LoRA mine\.safetensors, which only"):
        card.in_hub(told(spec, base_lora="mine.safetensors"), "")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        written(training, tmp_path / "full")
    with pytest.raises(FileNotFoundError, match="no training"):
        written(tmp_path, tmp_path / "hub")
    with pytest.raises(ValueError, match="no repository of the hub"):
        written(training, tmp_path / "hub", push="nowhere")


class Hub:
    """The hub with one repository at most, and what it was asked."""

    def __init__(self, private: bool | None = None) -> None:
        self.private = private
        self.calls: list[tuple[str, Any]] = []

    def __call__(self) -> Hub:
        return self

    def repo_info(self, repo_id: str) -> Hub:
        if self.private is None:
            response: Any = type("Response", (), {"headers": {}, "request": None})()
            raise RepositoryNotFoundError("none", response=response)
        return self

    def create_repo(self, repo_id: str, **given: Any) -> None:
        self.calls.append((repo_id, given))

    def upload_folder(self, **given: Any) -> None:
        self.calls.append((given["repo_id"], {"folder": given["folder_path"]}))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr(card, "HfApi", made)
    monkeypatch.setattr(
        card.ModelCard, "validate", lambda _card: made.calls.append(("validated", ""))
    )
    return made


def test_a_push_makes_a_private_repository_of_the_folder_and_a_dry_run_none(
    results: Path, tmp_path: Path, hub: Hub, capsys: Any
) -> None:
    training = results / "training" / "tiny_sd" / "red" / "hypernoise"
    written(training, tmp_path / "dry", push="an/adapter", dry=True)
    assert not hub.calls
    assert "would be pushed to an/adapter (private)" in capsys.readouterr().out
    out = written(training, tmp_path / "hub", push="an/adapter")
    assert hub.calls == [
        ("validated", ""),
        ("an/adapter", {"private": True, "exist_ok": True}),
        ("an/adapter", {"folder": str(out)}),
    ]


@pytest.mark.parametrize("public", [False, True])
def test_a_repository_that_others_see_than_it_is_to_be_shown_to_is_refused_before_any_work(
    results: Path, tmp_path: Path, hub: Hub, public: bool
) -> None:
    training = results / "training" / "tiny_sd" / "red" / "hypernoise"
    hub.private = public
    found = "private" if public else "public"
    with pytest.raises(ValueError, match=f"an/adapter is there already and is {found}"):
        written(training, tmp_path / "hub", push="an/adapter", public=public)
    assert not hub.calls
    assert not (tmp_path / "hub").exists()
    hub.private = not public
    written(training, tmp_path / "hub", push="an/adapter", public=public)
    assert len(hub.calls) == 3


def test_a_card_that_the_hub_refuses_makes_no_repository(
    results: Path, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_card: Any) -> None:
        raise ValueError("license is none")

    monkeypatch.setattr(card.ModelCard, "validate", refuse)
    training = results / "training" / "tiny_sd" / "red" / "hypernoise"
    with pytest.raises(ValueError, match="license is none"):
        written(training, tmp_path / "hub", push="an/adapter")
    assert not hub.calls


def test_the_documents_first_script_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = script_of((REPOSITORY / "docs" / "scripts.md").read_text(encoding="utf-8"))
    (tmp_path / "hypernoise").symlink_to(REPOSITORY / "hypernoise")
    monkeypatch.chdir(tmp_path)
    generator = SdTurbo("hypernoise/shapeworld/weights/tiny_sd", size_px=32)
    save_noise_network(generator, Path("results/training/tiny_sd/matcher/hypernoise"))
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["images"]) == 2 * len(names["prompts"])
