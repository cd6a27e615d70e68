"""The published components: declared, pinned, of published size, and runnable without weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from published import SIZE_PX, published, registered, small_generator, small_parts
from torch import Tensor
from toys import encode, noise_for

from harness.base.errors import SpecError
from harness.base.import_strings import resolve
from harness.build import generators
from harness.build.generators import build_generator, check_generator, check_memory
from harness.experiment.components import RANDOM_WEIGHTS, ModelSpec
from hypernoise.models import loading, random_weights
from hypernoise.models.random_weights import architectures, build, n_parameters
from hypernoise.models.unet import SdTurbo
from hypernoise.networks.noise_network import NoiseNetwork

BY_NAME = {spec.name: spec for spec in published()}
#: Millions of parameters of the backbones: the paper's, the model cards' where it has none.
BACKBONES_M = {
    "sd_turbo": 865.9,
    "sana_sprint_0.6b": 593.5,
    "sana_sprint_1.6b": 1610.2,
    "flux_schnell": 11891.2,
    "sdxl_base": 2567.5,
    "sdxl_turbo": 2567.5,
    "sd3.5_large_turbo": 8056.6,
    "sd3.5_medium_turbo": 2243.2,
    "pixart_alpha_dmd": 610.9,
    "qwen_image": 20430.4,
    "flux2_klein_4b": 3875.5,
    "z_image_turbo": 6154.9,
}


@pytest.fixture(params=BY_NAME)
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    """Each published component in turn."""
    return BY_NAME[request.param]


def test_the_papers_models_are_declared_with_their_sizes_and_steps() -> None:
    facts = {name: (spec.size_px, spec.steps) for name, spec in BY_NAME.items()}
    assert facts["sd_turbo"] == (512, 1)
    assert facts["sana_sprint_0_6b"] == facts["sana_sprint_1_6b"] == (1024, 1)
    assert facts["flux_schnell"] == (512, 4)
    assert facts["flux_schnell_1024px"] == facts["sd3_5_large_turbo"] == (1024, 4)
    assert facts["flux2_klein_4b"] == (1024, 4)
    assert facts["z_image_turbo"] == facts["qwen_image_lightning_8steps"] == (1024, 8)
    assert facts["sd3_5_medium_turbo"] == facts["qwen_image_lightning_4steps"] == (1024, 4)
    assert {spec.arguments["dtype"] for spec in BY_NAME.values()} == {"bfloat16"}


def test_every_published_model_has_a_twin_with_random_weights(spec: ModelSpec) -> None:
    twin = registered().models[f"{spec.name}_random"]
    assert twin.is_random and not twin.revision
    assert (twin.target, twin.size_px, twin.steps, twin.arguments) == (
        spec.target,
        spec.size_px,
        spec.steps,
        spec.arguments,
    )


def test_every_architecture_belongs_to_a_component() -> None:
    assert {spec.architecture for spec in BY_NAME.values()} == set(architectures())


@pytest.mark.parametrize("architecture", sorted(architectures()))
def test_backbones_have_the_published_number_of_parameters(architecture: str) -> None:
    counts = n_parameters(architecture)
    backbone = counts.get("unet", 0) + counts.get("transformer", 0)
    assert backbone / 1e6 == pytest.approx(BACKBONES_M[architecture], abs=0.05)


def test_noise_has_the_shape_that_the_paper_states() -> None:
    shapes = {
        "sd_turbo": (4, 64, 64),
        "sana_sprint_0_6b": (32, 32, 32),
        "flux_schnell": (1024, 64),
        "flux2_klein_4b": (128, 64, 64),
        "sd3_5_medium_turbo": (16, 128, 128),
        "qwen_image_lightning_4steps": (4096, 64),
    }
    for name, shape in shapes.items():
        spec = BY_NAME[name]
        family = resolve(spec.target)
        pipeline = build(
            family.pipeline_class, small_parts(spec.architecture), torch.bfloat16, "meta"
        )
        assert family(pipeline=pipeline, size_px=spec.size_px).noise_shape == shape


def test_the_twin_is_built_as_declared_at_full_size_and_then_frozen(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_weights, "parts_of", small_parts)
    monkeypatch.setattr(generators, "free_memory_bytes", lambda device: 2**40)
    twin = registered().models[f"{spec.name}_random"]
    check_generator(twin)
    generator = build_generator(twin, "cpu")
    assert generator.size_px == spec.size_px
    networks = [c for c in generator.pipeline.components.values() if isinstance(c, torch.nn.Module)]
    assert {p.dtype for network in networks for p in network.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    assert generator.pipeline.scheduler.config.num_train_timesteps == 1000


def test_random_weights_follow_from_the_seed_and_nothing_else(spec: ModelSpec) -> None:
    first = small_generator(spec)
    torch.rand(7)
    state = torch.get_rng_state()
    again = small_generator(spec)
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(first.backbone.parameters(), again.backbone.parameters(), strict=True):
        assert torch.equal(one, other)
    family = resolve(spec.target)
    reseeded = build(
        family.pipeline_class, small_parts(spec.architecture), torch.float32, "cpu", seed=1
    )
    weight = next(reseeded.vae.parameters())
    assert not torch.equal(weight, next(first.pipeline.vae.parameters()))


def test_a_noise_network_fits_every_published_family(spec: ModelSpec) -> None:
    generator = small_generator(spec)
    network = NoiseNetwork(generator, rank=2, alpha=2.0)
    with torch.no_grad():
        delta = network.delta(noise_for(generator, 2), encode(generator, 2))
    assert delta.shape == (2, *generator.noise_shape)
    assert not delta.any()


def test_flux_starts_one_step_at_sigma_one_and_sd_turbo_at_the_last_timestep() -> None:
    flux, turbo = small_generator(BY_NAME["flux_schnell"]), small_generator(BY_NAME["sd_turbo"])
    for generator in (flux, turbo):
        with torch.no_grad():
            generator.sample(noise_for(generator, 1), encode(generator, 1), 1)
    assert flux.pipeline.scheduler.sigmas.tolist() == [1.0, 0.0]
    assert flux.pipeline.scheduler.timesteps.tolist() == [1000.0]
    assert turbo.pipeline.scheduler.timesteps.tolist() == [999.0]
    assert (flux.last_layer, turbo.last_layer) == ("proj_out", "conv_out")


def assert_first_pass(
    generator: Any,
    noise: Tensor,
    conditioning: Any,
    decode: Callable[[Any, Tensor], Any],
    sign: int,
) -> None:
    """An image in one step is the decoded noise plus (``sign``) the noise pass."""
    pipeline = generator.pipeline
    with torch.no_grad():
        drawn = generator.sample(noise, conditioning, 1)
        decoded = decode(pipeline, noise + sign * generator.predict(noise, conditioning)).sample
    assert pipeline.scheduler.timesteps.tolist() == [1000.0]
    expected = (decoded / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-5)
    assert drawn.std() > 0.01


def test_sd3s_noise_pass_is_the_first_pass_of_its_sampler_on_clips_and_t5s_words() -> None:
    generator: Any = small_generator(BY_NAME["sd3_5_large_turbo"])
    noise, conditioning = noise_for(generator, 2), encode(generator, 2)
    shapes = {name: tuple(tensor.shape) for name, tensor in conditioning.tensors.items()}
    assert shapes == {"prompt_embeds": (2, 77 + 256, 32), "pooled_prompt_embeds": (2, 32)}

    def decode(pipeline: Any, latents: Tensor) -> Any:
        return pipeline.vae.decode(latents / 1.5305 + 0.0609)

    assert_first_pass(generator, noise, conditioning, decode, sign=-1)


def test_flux2_kleins_noise_pass_is_the_first_pass_of_its_sampler() -> None:
    generator: Any = small_generator(BY_NAME["flux2_klein_4b"])
    noise, conditioning = noise_for(generator, 2), encode(generator, 2)
    # Three hidden states of the language model, side by side.
    assert conditioning.tensors["prompt_embeds"].shape == (2, 512, 3 * 16)

    def decode(pipeline: Any, latents: Tensor) -> Any:
        # Channels of a patch become two by two latents; random weights have whitened nothing.
        spread = (1 + 1e-4) ** 0.5
        return pipeline.vae.decode(pipeline._unpatchify_latents(latents * spread))

    assert_first_pass(generator, noise, conditioning, decode, sign=-1)


def test_z_images_noise_pass_is_the_first_pass_of_its_sampler_on_prompts_of_their_lengths() -> None:
    generator: Any = small_generator(BY_NAME["z_image_turbo"])
    noise, conditioning = noise_for(generator, 2), encode(generator, 2)
    lengths = conditioning.tensors["lengths"].tolist()
    embeds = conditioning.tensors["prompt_embeds"]
    assert embeds.shape == (2, 512, 16)
    assert lengths[0] != lengths[1]
    assert [bool(row[n - 1].any()) for row, n in zip(embeds, lengths, strict=True)] == [True] * 2
    assert not any(row[n:].any() for row, n in zip(embeds, lengths, strict=True))

    def decode(pipeline: Any, latents: Tensor) -> Any:
        return pipeline.vae.decode(latents / 0.3611 + 0.1159)

    assert_first_pass(generator, noise, conditioning, decode, sign=1)


def test_qwen_images_noise_pass_is_the_first_pass_of_its_sampler_on_unequal_prompts() -> None:
    generator: Any = small_generator(BY_NAME["qwen_image_lightning_4steps"])
    noise, conditioning = noise_for(generator, 2), encode(generator, 2)
    lengths = conditioning.tensors["lengths"].tolist()
    embeds = conditioning.tensors["prompt_embeds"]
    assert embeds.shape == (2, 512, 16)
    assert lengths[0] != lengths[1]
    assert [bool(row[n - 1].any()) for row, n in zip(embeds, lengths, strict=True)] == [True] * 2
    assert not any(row[n:].any() for row, n in zip(embeds, lengths, strict=True))

    def decode(pipeline: Any, tokens: Tensor) -> Any:
        grid = generator.grid(tokens)
        assert torch.equal(generator.pack(grid), tokens)
        mean, std = (
            torch.tensor(values).view(1, 16, 1, 1)
            for values in (pipeline.vae.config.latents_mean, pipeline.vae.config.latents_std)
        )
        decoded = pipeline.vae.decode((grid * std + mean).unsqueeze(2))
        return SimpleNamespace(sample=decoded.sample.squeeze(2))

    assert_first_pass(generator, noise, conditioning, decode, sign=-1)


def test_all_three_networks_of_qwen_image_have_the_published_number_of_parameters() -> None:
    assert n_parameters("qwen_image") == {
        "transformer": 20_430_401_088,
        "vae": 126_892_531,
        "text_encoder": 8_292_166_656,
    }


def test_sana_is_guided_by_the_published_scale_and_instructed_unless_told_otherwise() -> None:
    spec = BY_NAME["sana_sprint_0_6b"]
    instructed: Any = small_generator(spec)
    pipeline = instructed.pipeline
    assert instructed.guidance * pipeline.transformer.config.guidance_embeds_scale == 4.5 * 0.1
    family = resolve(spec.target)
    bare = family(pipeline=pipeline, size_px=SIZE_PX, human_instruction=False)
    with torch.no_grad():
        one, other = (each.encode(["a cat"]).tensors for each in (instructed, bare))
    assert one["prompt_embeds"].shape == other["prompt_embeds"].shape == (1, 300, 16)
    assert not torch.equal(one["prompt_embeds"], other["prompt_embeds"])


def test_the_declared_word_for_random_weights_is_the_methods() -> None:
    assert RANDOM_WEIGHTS == loading.RANDOM


def test_an_unknown_architecture_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'sd_trubo'.*did you mean 'sd_turbo'"):
        SdTurbo(weights=RANDOM_WEIGHTS, architecture="sd_trubo")


def test_an_image_of_no_whole_number_of_latents_is_refused() -> None:
    pipeline = small_generator(BY_NAME["sd_turbo"]).pipeline
    with pytest.raises(ValueError, match="size_px is 500, must be a multiple of 8"):
        SdTurbo(pipeline=pipeline, size_px=500)


def test_a_model_can_run_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_weights, "parts_of", small_parts)
    monkeypatch.setattr(torch, "compile", lambda function, mode, dynamic: ("compiled", mode))
    make = {"weights": RANDOM_WEIGHTS, "architecture": "sd_turbo", "size_px": SIZE_PX}
    made = SdTurbo(**make, mode="compiled")
    assert made.backbone.forward == ("compiled", "default")
    assert "forward" in vars(made.pipeline.vae.decoder)
    assert "forward" not in vars(SdTurbo(**make).backbone)
    with pytest.raises(ValueError, match="unknown mode 'compile'"):
        SdTurbo(**make, mode="compile")


def test_vae_savings_are_switched_on_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_weights, "parts_of", small_parts)
    make = {"weights": RANDOM_WEIGHTS, "architecture": "sd_turbo", "size_px": SIZE_PX}
    vae = SdTurbo(**make, vae_savings=["slicing", "tiling"]).pipeline.vae
    assert vae.use_slicing and vae.use_tiling
    plain = SdTurbo(**make).pipeline.vae
    assert not plain.use_slicing and not plain.use_tiling
    with pytest.raises(ValueError, match=r"'tilling'.*did you mean 'tiling'"):
        SdTurbo(**make, vae_savings=["tilling"])


def test_a_misspelt_keyword_of_a_family_is_refused_however_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twin = registered().models["sd_turbo_random"]
    misspelt = replace(twin, arguments={**twin.arguments, "vae_saving": ["tiling"]})
    monkeypatch.setattr(random_weights, "parts_of", small_parts)
    with pytest.raises(SpecError, match=r"'vae_saving'; did you mean 'vae_savings'"):
        build_generator(misspelt, "cpu")
    pipeline = small_generator(BY_NAME["sd_turbo"]).pipeline
    with pytest.raises(TypeError, match="vae_saving"):
        SdTurbo(pipeline=pipeline, size_px=SIZE_PX, **{"vae_saving": ["tiling"]})


def test_sliced_decoding_draws_the_same_images() -> None:
    generator = small_generator(BY_NAME["sd_turbo"])
    noise, conditioning = noise_for(generator, 2), encode(generator, 2)
    with torch.no_grad():
        expected = generator.sample(noise, conditioning)
        generator.pipeline.vae.enable_slicing()
        found = generator.sample(noise, conditioning)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_too_little_memory_is_noticed_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twin = registered().models["flux_schnell_random"]
    free = SimpleNamespace(available=24 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(ValueError, match=r"take 31\.4 GiB, and cpu has 24\.0 GiB free"):
        check_memory(twin, "cpu")
    monkeypatch.setattr(generators, "default_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20 * 2**30, 80 * 2**30))
    with pytest.raises(ValueError, match=r"'flux_schnell_random'.* cuda has 20\.0 GiB free"):
        check_generator(twin)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (40 * 2**30, 80 * 2**30))
    check_generator(twin)


def test_random_weights_are_never_a_fallback() -> None:
    sound = {"target": "hypernoise.models.unet:SdTurbo", "size_px": 512, "version": 1}
    for name, more in (
        ("sd", {"weights": "random", "architecture": "sd_turbo"}),
        ("sd_random", {"weights": "random"}),
    ):
        with pytest.raises(SpecError, match="'_random' and an architecture"):
            registered().add_model(name, **sound, **more)
