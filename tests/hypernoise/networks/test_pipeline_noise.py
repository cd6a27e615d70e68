"""A trained noise network in a diffusers script: five lines, on every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import accelerate
import huggingface_hub
import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionPipeline
from published import published, small_generator
from scripts import add_style, described, save_noise_network, seeded, stock_images
from toys import PROMPTS, build_generator, noise_for

from hypernoise import NoiseNetwork
from hypernoise.models.families import FAMILIES, call_options, generator_of
from hypernoise.models.protocol import Generator
from hypernoise.networks.low_frequency import LowFrequencyNetwork
from hypernoise.networks.pipeline_noise import PipelineNoise
from hypernoise.shapeworld.architectures import BUILDERS
from hypernoise.weights.saved_lora import WEIGHTS_FILE

TWO = list(PROMPTS[:2])
#: One published component per family, small and with random weights, and the embedded ones.
SPECS: dict[str, Any] = {spec.target: spec for spec in published()}
NAMES = [*sorted(BUILDERS), *SPECS]


@cache
def built(name: str) -> Generator:
    return small_generator(SPECS[name]) if name in SPECS else build_generator(name)


@pytest.fixture(params=NAMES, ids=lambda name: name.rpartition(":")[2])
def family(request: pytest.FixtureRequest) -> Generator:
    """Each family in turn."""
    return built(request.param)


@pytest.fixture
def sd() -> Generator:
    """A generator of one's own: tests change its pipeline."""
    return build_generator("tiny_sd")


@pytest.fixture
def folder(sd: Generator, tmp_path: Path) -> Path:
    """A noise network of that generator."""
    save_noise_network(sd, tmp_path / "net").adapter.remove()
    return tmp_path / "net"


@pytest.fixture
def noise_network(sd: Generator, folder: Path) -> Iterator[PipelineNoise]:
    yield NoiseNetwork.from_pretrained(sd.pipeline, folder)


def test_every_family_has_a_published_component() -> None:
    assert {family.target for family in FAMILIES.values()} == set(SPECS)


@pytest.mark.parametrize("name", SPECS, ids=lambda name: name.rpartition(":")[2])
def test_a_stock_call_with_a_familys_options_draws_as_the_family_does(name: str) -> None:
    generator, spec = built(name), SPECS[name]
    pipeline = type(generator.pipeline).__name__
    options = call_options(pipeline, generator.size_px, 1, spec.arguments)
    noise = noise_for(generator, 2)
    with torch.no_grad():
        expected = generator.sample(noise, generator.encode(TWO), 1)
    images = stock_images(generator, latents=noise, stock=options)
    torch.testing.assert_close(images.float(), expected, rtol=0, atol=1e-5)


def test_options_of_a_call_are_the_declared_models_where_they_are_not_the_pipelines() -> None:
    own = {"num_inference_steps": 2, "height": 64, "width": 64}
    distilled = {"timesteps": [999, 749, 499], "scheduler": "lcm"}
    told = call_options("StableDiffusionXLPipeline", 64, 2, distilled)
    assert told == own | {"guidance_scale": 0.0, "timesteps": [999, 749]}
    sana = {"intermediate_timestep": 0.4, "human_instruction": False, "max_tokens": 16}
    told = call_options("SanaSprintPipeline", 64, 2, sana)
    assert told["intermediate_timesteps"] == 0.4
    assert told["complex_human_instruction"] is None
    assert told["max_sequence_length"] == 16
    assert call_options("SanaSprintPipeline", 64, 4, sana)["intermediate_timesteps"] is None


def test_an_untrained_network_leaves_a_pipeline_the_images_that_it_had(
    family: Generator, tmp_path: Path
) -> None:
    save_noise_network(family, tmp_path, scale=0).adapter.remove()
    noise_network = NoiseNetwork.from_pretrained(family.pipeline, tmp_path)
    latents = noise_network(TWO, num_images_per_prompt=2, generator=seeded())
    moved = stock_images(family, latents=latents, num_images_per_prompt=2)
    own = stock_images(family, generator=seeded(), num_images_per_prompt=2)
    torch.testing.assert_close(moved, own, rtol=0, atol=1e-5)


def test_latents_are_those_that_the_trained_network_moves_to(
    family: Generator, tmp_path: Path
) -> None:
    trained = save_noise_network(family, tmp_path)
    noise = noise_for(family, 4)
    with torch.no_grad():
        expected = noise + trained.delta(noise, family.encode(TWO).rows([0, 0, 1, 1]))
    trained.adapter.remove()
    before = {name: weight.clone() for name, weight in family.backbone.named_parameters()}
    noise_network = NoiseNetwork.from_pretrained(family.pipeline, str(tmp_path))
    latents = noise_network(TWO, num_images_per_prompt=2, latents=noise)
    assert not torch.equal(latents, noise)
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
    after = dict(family.backbone.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_images_of_a_prompt_follow_one_another_as_in_the_pipeline(
    family: Generator, tmp_path: Path
) -> None:
    save_noise_network(family, tmp_path).adapter.remove()
    noise_network = NoiseNetwork.from_pretrained(family.pipeline, tmp_path)
    latents = noise_network(TWO, num_images_per_prompt=2, generator=seeded())
    twice = [prompt for prompt in TWO for _ in range(2)]
    each = noise_network(twice, generator=seeded())
    torch.testing.assert_close(latents, each, rtol=1e-4, atol=1e-4)


def test_one_prompt_is_a_text_and_several_generators_are_one_for_each_image(
    sd: Generator, noise_network: PipelineNoise
) -> None:
    single = noise_network(PROMPTS[1], generator=seeded(1))
    several = noise_network(TWO, generator=[seeded(0), seeded(1)])
    torch.testing.assert_close(single, several[1:], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="1 generators for 2 images"):
        noise_network(TWO, generator=[seeded()])
    with pytest.raises(ValueError, match=r"shape \(1, 4, 8, 8\), 2 images of 32 px need \(2, 4"):
        noise_network(TWO, latents=noise_for(sd, 1))
    with pytest.raises(ValueError, match="0 prompts"):
        noise_network([])


def test_guidance_steps_and_callbacks_are_the_pipelines(
    sd: Generator, noise_network: PipelineNoise
) -> None:
    seen: list[int] = []

    def callback(_pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(step)
        return tensors

    latents = noise_network(TWO, generator=seeded())
    options = {"num_inference_steps": 3, "guidance_scale": 5.0, "negative_prompt": ["dark"] * 2}
    images = stock_images(sd, latents=latents, callback_on_step_end=callback, **options)
    assert seen == [0, 1, 2]
    # The network's pass is no step: it is as in a script without any of this.
    assert torch.equal(noise_network(TWO, generator=seeded()), latents)
    assert not torch.equal(images, stock_images(sd, generator=seeded(), **options))


@pytest.mark.parametrize("first", ["style", "network"])
def test_another_lora_keeps_its_effect_in_either_order(
    sd: Generator, folder: Path, first: str
) -> None:
    noise = noise_for(sd, 2)
    plain = NoiseNetwork.from_pretrained(sd.pipeline, folder)(TWO, latents=noise)
    bare = stock_images(sd, latents=noise)
    if first == "network":
        noise_network = NoiseNetwork.from_pretrained(sd.pipeline, folder)
        add_style(sd.pipeline)
        style = stock_images(sd, latents=noise)
    else:
        add_style(sd.pipeline)
        style = stock_images(sd, latents=noise)
        noise_network = NoiseNetwork.from_pretrained(sd.pipeline, folder)
    assert (style - bare).abs().max() > 0.005
    assert torch.equal(noise_network(TWO, latents=noise), plain)
    assert torch.equal(stock_images(sd, latents=noise), style)
    assert sd.pipeline.get_active_adapters() == ["style"]


CHANGES: dict[str, Callable[[Any], None]] = {
    "weighted": lambda pipe: pipe.set_adapters(["style"], [0.4]),
    "switched off": lambda pipe: pipe.disable_lora(),
    "fused": lambda pipe: pipe.fuse_lora(),
    "fused by half": lambda pipe: pipe.fuse_lora(lora_scale=0.5),
    "fused and unfused": lambda pipe: (pipe.fuse_lora(), pipe.unfuse_lora()),
    "unloaded": lambda pipe: pipe.unload_lora_weights(),
    "deleted": lambda pipe: pipe.delete_adapters(["style"]),
    "second": lambda pipe: add_style(pipe, "second", "to_q"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_done_to_another_lora_neither_disturbs_the_other(
    sd: Generator, noise_network: PipelineNoise, change: str
) -> None:
    noise = noise_for(sd, 2)
    moved = noise_network(TWO, latents=noise)
    alone = build_generator("tiny_sd")
    for pipeline in (sd.pipeline, alone.pipeline):
        add_style(pipeline)
        CHANGES[change](pipeline)
    torch.testing.assert_close(noise_network(TWO, latents=noise), moved, rtol=0, atol=1e-5)
    expected = stock_images(alone, latents=noise)
    torch.testing.assert_close(stock_images(sd, latents=noise), expected, rtol=0, atol=1e-5)


def test_a_lora_that_was_fused_and_taken_out_of_sight_is_an_error(
    sd: Generator, folder: Path, noise_network: PipelineNoise
) -> None:
    add_style(sd.pipeline)
    sd.pipeline.fuse_lora()
    sd.pipeline.unload_lora_weights()
    with pytest.raises(ValueError, match=r"fused.*unload_lora_weights.*unfuse_lora"):
        noise_network(TWO, generator=seeded())
    with pytest.raises(ValueError, match=r"not those of a/base.*fused into them"):
        NoiseNetwork.from_pretrained(sd.pipeline, folder)
    as_it_is = NoiseNetwork.from_pretrained(sd.pipeline, folder, check_base=False)
    assert as_it_is(TWO, generator=seeded()).isfinite().all()


def test_a_fused_lora_is_taken_off_at_the_weight_that_it_was_fused_with(
    sd: Generator, folder: Path, noise_network: PipelineNoise
) -> None:
    moved = noise_network(TWO, generator=seeded())
    add_style(sd.pipeline)
    sd.pipeline.set_adapters(["style"], [0.7])
    sd.pipeline.fuse_lora()
    later = NoiseNetwork.from_pretrained(sd.pipeline, folder)
    sd.pipeline.set_adapters(["style"], [0.1])
    for loaded in (noise_network, later):
        with pytest.raises(ValueError, match=r"set_adapters\(\) leaves the weight that it was"):
            loaded(TWO, generator=seeded())
    with pytest.raises(ValueError, match=r"not those of a/base.*before its weight is changed"):
        NoiseNetwork.from_pretrained(sd.pipeline, folder)
    sd.pipeline.set_adapters(["style"], [0.7])
    for loaded in (noise_network, later, NoiseNetwork.from_pretrained(sd.pipeline, folder)):
        torch.testing.assert_close(loaded(TWO, generator=seeded()), moved, rtol=0, atol=1e-5)


def test_a_fused_lora_of_half_precision_is_known_for_one(sd: Generator, folder: Path) -> None:
    for part in (sd.pipeline.unet, sd.pipeline.text_encoder, sd.pipeline.vae):
        part.to(torch.bfloat16)
    noise_network = NoiseNetwork.from_pretrained(sd.pipeline, folder)
    add_style(sd.pipeline, only="conv")
    add_style(sd.pipeline, "second", scale=1.0)
    sd.pipeline.unet.to(torch.bfloat16)
    sd.pipeline.set_adapters(["style", "second"], [1.0, 0.6])
    sd.pipeline.fuse_lora()
    assert sum(getattr(layer, "merged", False) for layer in sd.pipeline.unet.modules()) > 20
    assert noise_network(TWO, generator=seeded()).isfinite().all()
    sd.pipeline.set_adapters(["style"], [0.1])
    with pytest.raises(ValueError, match=r"set_adapters\(\) leaves the weight"):
        noise_network(TWO, generator=seeded())


def test_a_lora_of_the_base_itself_has_to_be_a_part_of_its_weights(
    sd: Generator, tmp_path: Path
) -> None:
    known = build_generator("tiny_sd")
    add_style(known.pipeline)
    known.pipeline.fuse_lora()
    known.pipeline.unload_lora_weights()
    save_noise_network(known, tmp_path).adapter.remove()
    described(known, base_lora="turbo").write(tmp_path)
    moved = NoiseNetwork.from_pretrained(known.pipeline, tmp_path)(TWO, generator=seeded())
    with pytest.raises(ValueError, match=r"not those of a/base with the LoRA turbo in them"):
        NoiseNetwork.from_pretrained(sd.pipeline, tmp_path)
    add_style(sd.pipeline)
    sd.pipeline.fuse_lora()
    for check_base in (True, False):
        with pytest.raises(ValueError, match=r"LoRA turbo.*unload_lora_weights\(\) after fusing"):
            NoiseNetwork.from_pretrained(sd.pipeline, tmp_path, check_base=check_base)
    sd.pipeline.unload_lora_weights()
    noise_network = NoiseNetwork.from_pretrained(sd.pipeline, tmp_path)
    torch.testing.assert_close(noise_network(TWO, generator=seeded()), moved, rtol=0, atol=1e-5)


def test_a_lora_of_the_text_encoder_is_not_in_the_networks_prompts(
    sd: Generator, noise_network: PipelineNoise
) -> None:
    moved = noise_network(TWO, generator=seeded())
    add_lora(sd.pipeline.text_encoder)
    assert (sd.encode(TWO).tensors["prompt_embeds"]).isfinite().all()
    assert torch.equal(noise_network(TWO, generator=seeded()), moved)


def add_lora(encoder: Any) -> None:
    from peft import LoraConfig

    encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))


def test_a_pipeline_with_a_network_is_saved_as_one_without(
    sd: Generator, noise_network: PipelineNoise, tmp_path: Path
) -> None:
    noise_network(TWO, generator=seeded())
    sd.pipeline.save_pretrained(tmp_path / "saved")
    again = StableDiffusionPipeline.from_pretrained(tmp_path / "saved", use_safetensors=True)
    loaded = generator_of(again, 32, {})
    noise = noise_for(sd, 2)
    assert torch.equal(stock_images(loaded, latents=noise), stock_images(sd, latents=noise))


@pytest.mark.parametrize("when", ["before", "after", "in place"])
def test_a_compiled_pipeline_gets_the_same_latents(
    sd: Generator, folder: Path, noise_network: PipelineNoise, when: str
) -> None:
    expected = noise_network(TWO, generator=seeded())
    pipeline, noise = sd.pipeline, noise_for(sd, 2)
    images = stock_images(sd, latents=noise)
    if when == "in place":
        pipeline.unet.compile(backend="eager")
    else:
        pipeline.unet = torch.compile(pipeline.unet, backend="eager")
    if when == "before":
        noise_network = NoiseNetwork.from_pretrained(pipeline, folder)
    torch.testing.assert_close(stock_images(sd, latents=noise), images, rtol=0, atol=1e-5)
    assert torch.equal(noise_network(TWO, generator=seeded()), expected)
    torch.testing.assert_close(stock_images(sd, latents=noise), images, rtol=0, atol=1e-5)


def test_offloaded_layers_are_brought_back_for_the_noise_pass(
    sd: Generator, noise_network: PipelineNoise
) -> None:
    expected = noise_network(TWO, generator=seeded())
    for part in (sd.pipeline.text_encoder, sd.pipeline.unet, sd.pipeline.vae):
        # What enable_sequential_cpu_offload does, onto a device that is here.
        accelerate.cpu_offload(part, torch.device("cpu"), offload_buffers=True)
    assert next(sd.pipeline.unet.parameters()).is_meta
    assert torch.equal(noise_network(TWO, generator=seeded()), expected)
    assert next(sd.pipeline.unet.parameters()).is_meta


def test_every_kind_of_network_is_loaded_beside_offloaded_layers(
    sd: Generator, folder: Path, tmp_path: Path
) -> None:
    low = LowFrequencyNetwork(sd, frequencies=2, width=8, depth=1)
    torch.nn.init.ones_(low.network.last.bias)
    low.save(tmp_path / "low")
    described(sd, "low_frequency").write(tmp_path / "low")
    folders = (folder, tmp_path / "low")
    expected = [
        NoiseNetwork.from_pretrained(sd.pipeline, each)(TWO, generator=seeded()) for each in folders
    ]
    for part in (sd.pipeline.text_encoder, sd.pipeline.unet, sd.pipeline.vae):
        accelerate.cpu_offload(part, torch.device("cpu"), offload_buffers=True)
    for each, moved in zip(folders, expected, strict=True):
        loaded = NoiseNetwork.from_pretrained(sd.pipeline, each)
        assert torch.equal(loaded(TWO, generator=seeded()), moved)


def test_networks_that_are_offloaded_whole_go_back_after_the_noise_pass(
    sd: Generator, noise_network: PipelineNoise, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[bool] = []
    monkeypatch.setattr(sd.pipeline, "maybe_free_model_hooks", lambda: freed.append(True))
    noise_network(TWO, generator=seeded())
    assert freed


def test_a_scheduler_that_begins_elsewhere_does_not_move_the_noise_pass(
    sd: Generator, folder: Path, noise_network: PipelineNoise
) -> None:
    expected = noise_network(TWO, generator=seeded())
    config = dict(sd.pipeline.scheduler.config) | {"timestep_spacing": "leading"}
    sd.pipeline.scheduler = LCMScheduler.from_config(config, original_inference_steps=10)
    sd.pipeline.scheduler.set_timesteps(1)
    later = NoiseNetwork.from_pretrained(sd.pipeline, folder)
    assert torch.equal(later(TWO, generator=seeded()), expected)


def test_layers_that_something_took_the_place_of_are_an_error(
    sd: Generator, noise_network: PipelineNoise
) -> None:
    sd.pipeline.fuse_qkv_projections()
    with pytest.raises(RuntimeError, match=r"not reached.*fuse_qkv_projections"):
        noise_network(TWO, generator=seeded())
    sd.pipeline.unfuse_qkv_projections()
    assert noise_network(TWO, generator=seeded()).isfinite().all()


def test_another_backbone_another_pipeline_and_another_kind_are_errors(
    sd: Generator, folder: Path, noise_network: PipelineNoise, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"of a StableDiffusionPipeline .*FluxPipeline"):
        NoiseNetwork.from_pretrained(built("tiny_flux").pipeline, folder)
    described(sd, "lora_finetune").write(folder)
    with pytest.raises(ValueError, match=r"fine-tuning \(lora_finetune\).*load_lora_weights"):
        NoiseNetwork.from_pretrained(sd.pipeline, folder)
    (folder / "hypernoise.json").unlink()
    with pytest.raises(ValueError, match=r"no hypernoise.json.*of which kind.*base"):
        NoiseNetwork.from_pretrained(sd.pipeline, folder)
    told = NoiseNetwork.from_pretrained(sd.pipeline, folder, description=described(sd))
    assert torch.equal(told(TWO, generator=seeded()), noise_network(TWO, generator=seeded()))
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        NoiseNetwork.from_pretrained(sd.pipeline, tmp_path / "nowhere")
    sd.pipeline.unet = build_generator("tiny_sd").pipeline.unet
    with pytest.raises(ValueError, match="backbone was exchanged"):
        noise_network(TWO, generator=seeded())


def test_a_network_of_the_hub_is_fetched_at_its_commit_without_anything_else(
    sd: Generator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot(repository: str, **given: Any) -> str:
        asked.append({"repository": repository, **given})
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    NoiseNetwork.from_pretrained(sd.pipeline, f"an/adapter@{'a' * 40}")
    NoiseNetwork.from_pretrained(sd.pipeline, "an/adapter", revision="main")
    assert [call["revision"] for call in asked] == ["a" * 40, "main"]
    files = ["adapter_config.json", "adapter_model.safetensors", "hypernoise.json"]
    assert [call["allow_patterns"] for call in asked] == [files, files]


def test_another_base_of_the_same_shape_is_an_error(folder: Path) -> None:
    other = build_generator("tiny_sd")
    with torch.no_grad():
        for weight in other.backbone.parameters():
            weight.add_(torch.randn(weight.shape, generator=seeded()) * 0.01)
    with pytest.raises(ValueError, match="weights are not those of a/base"):
        NoiseNetwork.from_pretrained(other.pipeline, folder)


def test_a_network_for_other_layers_is_an_error(folder: Path) -> None:
    flux = built("tiny_flux")
    described(flux).write(folder)
    with pytest.raises(ValueError, match=f"{WEIGHTS_FILE} was made for another backbone"):
        NoiseNetwork.from_pretrained(flux.pipeline, folder)


def test_images_of_another_size_are_drawn_from_noise_of_that_size(
    sd: Generator, folder: Path
) -> None:
    larger = NoiseNetwork.from_pretrained(sd.pipeline, folder, size_px=64)
    latents = larger(TWO, generator=seeded())
    assert stock_images(sd, latents=latents, height=64, width=64).shape == (2, 3, 64, 64)


def test_half_precision_networks_draw_and_move_in_their_own(sd: Generator, folder: Path) -> None:
    sd.pipeline.to(torch.bfloat16)
    noise_network = NoiseNetwork.from_pretrained(sd.pipeline, folder)
    latents = noise_network(TWO, generator=seeded())
    assert latents.dtype == torch.bfloat16
    assert stock_images(sd, latents=latents).isfinite().all()
