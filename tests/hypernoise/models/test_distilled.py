"""A LoRA that is fused into a pipeline, and the samplers that distilled models are drawn with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from published import published, registered, small_generator, small_parts
from safetensors.torch import save_file
from toys import encode, noise_for

from harness.build import generators
from harness.build.generators import check_generator, generator_files
from harness.experiment.pins import downloads
from hypernoise.models.distilled import fuse_lora, set_scheduler
from hypernoise.models.random_weights import build
from hypernoise.models.sdxl import SdxlTurbo
from hypernoise.models.stand_ins import small_lora
from hypernoise.networks.noise_network import NoiseNetwork

BY_NAME = {spec.name: spec for spec in published()}


@pytest.fixture
def pipeline() -> Any:
    return build(SdxlTurbo.pipeline_class, small_parts("sdxl_base"), torch.float32, "cpu")


def kohya(lora: dict[str, torch.Tensor], alpha: float) -> dict[str, torch.Tensor]:
    """The same LoRA in the layout of kohya's scripts, with their ``alpha``."""
    made = {}
    for name, value in lora.items():
        layer, _, factor = name.removeprefix("unet.").removesuffix(".weight").rpartition(".")
        place = f"lora_unet_{layer.replace('.', '_')}"
        made[f"{place}.{ {'lora_A': 'lora_down', 'lora_B': 'lora_up'}[factor] }.weight"] = value
        made[f"{place}.alpha"] = torch.tensor(alpha)
    return made


@pytest.mark.parametrize(("layout", "scale"), [("peft", 1.0), ("kohya", 0.5)])
def test_a_fused_lora_is_added_to_the_weights_in_either_layout(
    pipeline: Any, tmp_path: Path, layout: str, scale: float
) -> None:
    lora = small_lora(pipeline)
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    # An alpha of one at rank two halves what the LoRA adds.
    save_file(lora if layout == "peft" else kohya(lora, 1.0), tmp_path / "lora.safetensors")
    fuse_lora(pipeline, str(tmp_path / "lora.safetensors"))
    after = pipeline.unet.state_dict()
    assert after.keys() == before.keys()
    n_changed = 0
    for name, value in after.items():
        place = f"unet.{name.removesuffix('.weight')}"
        if (first := lora.get(f"{place}.lora_A.weight")) is None:
            assert torch.equal(value, before[name]), name
            continue
        added = scale * lora[f"{place}.lora_B.weight"] @ first
        torch.testing.assert_close(value, before[name] + added, rtol=0, atol=1e-6)
        n_changed += 1
    assert n_changed == len(lora) // 2 > 0


def test_layers_that_the_pipeline_lacks_are_refused_and_not_left_out(
    pipeline: Any, tmp_path: Path
) -> None:
    lora = small_lora(pipeline)
    name = next(iter(lora)).replace("attn1", "attn9").removesuffix(".lora_A.weight")
    lora |= {f"{name}.lora_A.weight": torch.ones(2, 8), f"{name}.lora_B.weight": torch.ones(8, 2)}
    save_file(lora, tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match=r"lora\.safetensors"):
        fuse_lora(pipeline, str(tmp_path / "lora.safetensors"))


def test_a_pickled_lora_is_refused(pipeline: Any, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "lora.bin")
    with pytest.raises(ValueError, match=r"lora\.bin is no \.safetensors file"):
        fuse_lora(pipeline, str(tmp_path / "lora.bin"))


def test_a_noise_network_is_attached_to_a_model_with_a_fused_lora(
    pipeline: Any, tmp_path: Path
) -> None:
    save_file(small_lora(pipeline), tmp_path / "lora.safetensors")
    pipeline.save_pretrained(tmp_path / "base")
    given: dict[str, Any] = {"weights": str(tmp_path / "base"), "size_px": 64, "scheduler": "tcd"}
    plain = SdxlTurbo(**given)
    fused = SdxlTurbo(**given, lora=str(tmp_path / "lora.safetensors"), mode="eager")
    noise, conditioning = noise_for(plain, 2), encode(plain)
    with torch.no_grad():
        images = [generator.sample(noise, conditioning) for generator in (plain, fused)]
    assert not torch.equal(*images)
    assert not any(p.requires_grad for p in fused.backbone.parameters())
    network = NoiseNetwork(fused, rank=2, alpha=2.0)
    with torch.no_grad():
        assert torch.equal(network.draw(noise, conditioning).images, images[1])


@pytest.mark.parametrize(
    ("name", "scheduler", "timesteps"),
    [
        ("sdxl_lightning", "EulerDiscreteScheduler", [999, 749, 499, 249]),
        ("hyper_sdxl", "TCDScheduler", [999, 759, 499, 259]),
        ("dmd2_sdxl", "LCMScheduler", [999, 749, 499, 249]),
        ("lcm_lora_sdxl", "LCMScheduler", [999, 759, 499, 259]),
    ],
)
def test_four_steps_are_taken_at_the_timesteps_of_the_models_page(
    name: str, scheduler: str, timesteps: list[int]
) -> None:
    generator: Any = small_generator(BY_NAME[name])
    with torch.no_grad():
        generator.sample(noise_for(generator, 1), encode(generator, 1), 4, [1])
    found = generator.pipeline.scheduler
    assert (type(found).__name__, [round(t) for t in found.timesteps.tolist()]) == (
        scheduler,
        timesteps,
    )


def test_more_steps_than_a_model_has_timesteps_are_refused() -> None:
    generator = small_generator(BY_NAME["dmd2_sdxl"])
    with pytest.raises(ValueError, match="4 steps at most, and was asked for 5"):
        generator.sample(noise_for(generator, 1), encode(generator, 1), 5, [1])


def test_an_unknown_scheduler_is_named_with_the_nearest(pipeline: Any) -> None:
    with pytest.raises(ValueError, match=r"'tdc'.*did you mean 'tcd'"):
        set_scheduler(pipeline, "tdc")


def test_a_lora_is_a_download_of_its_model_with_commit_and_hash() -> None:
    found = [d for d in downloads(registered()) if d.name == "hyper_sdxl"]
    assert [(d.keys, d.lacks) for d in found] == [
        (("weights",), ()),
        (("arguments", "lora"), ()),
    ]


def test_a_lora_of_this_machine_is_checked_before_any_work_and_is_part_of_what_is_read(
    pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generators, "free_memory_bytes", lambda device: 2**40)
    pipeline.save_pretrained(tmp_path / "base")
    lora = tmp_path / "lora.safetensors"
    spec = BY_NAME["hyper_sdxl"]
    arguments = {**spec.arguments, "lora": str(lora)}
    spec = replace(spec, weights=str(tmp_path / "base"), revision="", arguments=arguments)
    with pytest.raises(FileNotFoundError, match=r"weights of model 'hyper_sdxl': .*lora"):
        check_generator(spec)
    fitting = small_lora(pipeline)
    save_file({k.replace("attn1", "attn9"): w for k, w in fitting.items()}, lora)
    with pytest.raises(ValueError, match=r"weights of model 'hyper_sdxl': .*for another base"):
        check_generator(spec)
    save_file(fitting, lora)
    check_generator(spec)
    assert generator_files(spec) == [spec.weights, str(lora)]
