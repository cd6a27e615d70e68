"""What a training's folder says of its network, and who refuses to take it for something else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from paths import REPOSITORY
from scripts import save_noise_network, seeded, stock_images
from toys import PROMPTS, noise_for
from trainings import FINETUNE, OPTIONS, model, train_job

from harness.build.generators import build_generator
from harness.cli.verify import verify
from harness.experiment.components import MethodSpec, ModelSpec, Registry
from harness.experiment.jobs import MatchJob
from harness.results.results_folder import survey
from harness.results.training_folder import BESIDE_NETWORK
from harness.stages import stop_at_reward, train
from hypernoise import NoiseNetwork
from hypernoise.methods.given_adapter import GivenAdapter
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.lora_finetune import LoraFinetune
from hypernoise.networks.description import DESCRIPTION_FILE, read_description
from hypernoise.networks.diffusers_layout import DIFFUSERS_FILE
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.noise_network import NoiseNetwork as Trained
from hypernoise.training.kinds import KINDS
from hypernoise.weights.saved_lora import CONFIG_FILE

__all__ = ["model"]
TWO = list(PROMPTS[:2])


@pytest.fixture(scope="module")
def folders(model: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A noise network, a fine-tuning and its matched checkpoint, trained for a few steps."""
    root = tmp_path_factory.mktemp("trainings")
    train.run(train_job(root / "noise", model))
    train.run(train_job(root / "tuned", model, method=FINETUNE))
    found = {"noise": root / "noise" / "out", "tuned": root / "tuned" / "out"}
    found["matched"] = root / "matched"
    stop_at_reward.run(
        MatchJob(str(found["tuned"]), str(found["noise"]), "red", str(found["matched"]))
    )
    return found


def test_the_file_names_are_those_that_networks_have() -> None:
    assert BESIDE_NETWORK == (DESCRIPTION_FILE, DIFFUSERS_FILE)


def test_a_folder_says_kind_base_reward_method_steps_and_size(
    folders: dict[str, Path], model: ModelSpec
) -> None:
    told = read_description(folders["noise"])
    assert told is not None
    assert (told.kind, told.moves_noise, told.method, told.reward) == (
        *("hypernoise", True, "hypernoise"),
        "red",
    )
    assert (told.base, told.pipeline, told.size_px) == (
        *(model.weights, "StableDiffusionPipeline"),
        32,
    )
    assert (told.step, told.steps) == (4, 4)
    assert told.first_timestep == 999
    assert len(told.base_sample) > 10
    step = read_description(folders["noise"] / "checkpoints" / "step_000002")
    assert step is not None
    assert step.step == 2
    config = json.loads((folders["noise"] / CONFIG_FILE).read_text())
    assert config["base_model_name_or_path"] == model.weights
    matched = read_description(folders["matched"])
    assert matched is not None
    assert (matched.kind, matched.moves_noise) == ("lora_finetune", False)


def test_the_script_in_the_readme_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (script,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "latents" in b)
    folder = "results/training/tiny_sd/matcher/hypernoise"
    assert folder in script
    spec = ModelSpec(
        *("tiny_sd", "hypernoise.models.unet:SdTurbo"),
        weights=str(REPOSITORY / "hypernoise/shapeworld/weights/tiny_sd"),
        size_px=32,
        version=1,
    )
    save_noise_network(build_generator(spec, "cpu"), tmp_path)
    monkeypatch.chdir(REPOSITORY)
    ran: dict[str, Any] = {}
    exec(script.replace(folder, str(tmp_path)), ran)
    assert len(ran["images"]) == 2
    assert not torch.equal(ran["latents"], torch.randn(2, 4, 8, 8, generator=seeded()))


def test_a_trained_folder_is_five_lines_in_a_script(
    folders: dict[str, Path], model: ModelSpec
) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(model.weights, use_safetensors=True)
    noise_network = NoiseNetwork.from_pretrained(pipe, folders["noise"])
    latents = noise_network(TWO, generator=seeded())
    generator = build_generator(model, "cpu")
    trained = Trained.trained(generator, folders["noise"])
    noise = torch.randn(2, *generator.noise_shape, generator=seeded())
    with torch.no_grad():
        expected = noise + trained.delta(noise, generator.encode(TWO))
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-5)
    assert pipe(TWO, latents=latents, num_inference_steps=1, guidance_scale=0.0).images


@pytest.mark.parametrize("folder", ["tuned", "matched"])
def test_a_fine_tuning_is_loaded_by_the_pipeline_itself(
    folders: dict[str, Path], model: ModelSpec, folder: str
) -> None:
    generator = build_generator(model, "cpu")
    noise = noise_for(generator, 2)
    bare = stock_images(generator, latents=noise)
    tuner = FineTuner.trained(generator, folders[folder])
    with tuner.active():
        expected = stock_images(generator, latents=noise)
    tuner.adapter.remove()
    generator.pipeline.load_lora_weights(folders[folder])
    found = stock_images(generator, latents=noise)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - bare).abs().max() > 1e-4


def test_a_network_is_not_loaded_as_one_of_another_kind(
    folders: dict[str, Path], model: ModelSpec
) -> None:
    generator: Any = build_generator(model, "cpu")
    with pytest.raises(ValueError, match=r"noise network \(hypernoise\), and a lora_finetune"):
        FineTuner.trained(generator, folders["noise"])
    with pytest.raises(ValueError, match=r"fine-tuning \(lora_finetune\), and a hypernoise"):
        Trained.trained(generator, folders["tuned"])
    with pytest.raises(ValueError, match=r"fine-tuning.*load_lora_weights"):
        NoiseNetwork.from_pretrained(generator.pipeline, folders["tuned"])
    with pytest.raises(ValueError, match="declare moves_noise=True"):
        GivenAdapter(str(folders["noise"])).attach(generator)
    GivenAdapter(str(folders["tuned"])).attach(generator)


def test_a_folder_of_earlier_code_loads_in_a_run_and_says_outside_what_is_missing(
    folders: dict[str, Path], model: ModelSpec, tmp_path: Path
) -> None:
    for name in (CONFIG_FILE, "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((folders["noise"] / name).read_bytes())
    generator = build_generator(model, "cpu")
    Trained.trained(generator, tmp_path).adapter.remove()
    with pytest.raises(ValueError, match=r"no hypernoise.json.*kind.*base.*size.*harness card"):
        NoiseNetwork.from_pretrained(generator.pipeline, tmp_path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"format": 2}, "format is 2"),
        ({"size_px": "32"}, "size_px"),
        ({"colour": "red"}, "unknown entry 'colour'"),
        ({"kind": None}, "kind"),
    ],
)
def test_a_description_that_was_changed_names_what_is_wrong(
    folders: dict[str, Path], tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    told = json.loads((folders["noise"] / DESCRIPTION_FILE).read_text())
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps(told | change))
    with pytest.raises(ValueError, match=f"{DESCRIPTION_FILE} does not describe.*{fault}"):
        read_description(tmp_path)


def test_verify_passes_and_finds_a_description_that_was_changed(
    model: ModelSpec, tmp_path: Path
) -> None:
    train.run(train_job(tmp_path, model, method=FINETUNE))
    assert not faults(tmp_path)
    path = tmp_path / "out" / DESCRIPTION_FILE
    path.write_text(path.read_text().replace('"red"', '"blue"'))
    assert [found for found in faults(tmp_path) if DESCRIPTION_FILE in found]


def faults(root: Path) -> list[str]:
    """What does not hold of the training; that its model is not declared does not count."""
    own = str(root / "out")
    found = verify(survey(root), Registry())
    return [str(finding) for finding in found if finding.file.startswith(own)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_training_of_any_kind_leaves_is_loaded_again(
    tmp_path: Path, model: ModelSpec, kind: str
) -> None:
    of = HyperNoise if KINDS[kind].moves_noise else LoraFinetune
    method = MethodSpec(kind, f"{of.__module__}:{of.__qualname__}", version=1, trains=kind)
    options = KINDS[kind].known({**OPTIONS, "frequencies": 2, "width": 8, "depth": 1})
    train.run(train_job(tmp_path, model, method=method, options=options))
    out = tmp_path / "out"
    told = read_description(out)
    assert told is not None
    assert told.kind == kind
    generator: Any = build_generator(model, "cpu")
    network: Any = KINDS[kind].load(generator, out)
    assert KINDS[kind].makes(network)
    for other in KINDS.values():
        if other.network != KINDS[kind].network:
            with pytest.raises(ValueError, match=rf"\({kind}\), and a "):
                other.load(generator, out)
    pipe = StableDiffusionPipeline.from_pretrained(model.weights, use_safetensors=True)
    if not told.moves_noise:
        with pytest.raises(ValueError, match=r"no noise network: .*load_lora_weights"):
            NoiseNetwork.from_pretrained(pipe, out)
        return
    noise = noise_for(generator, 2)
    with torch.no_grad():
        expected = noise + network.delta(noise, generator.encode(TWO))
    assert not torch.equal(expected, noise)
    latents = NoiseNetwork.from_pretrained(pipe, out)(TWO, latents=noise)
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-5)
