from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import REPOSITORY
from published import published, registered, small_generator
from toys import PROMPTS, build_generator, encode, noise_for, stir

from harness.base.import_strings import resolve
from hypernoise.models.flux import FluxSchnell
from hypernoise.models.flux2 import Flux2Klein
from hypernoise.models.pixart import PixartDmd
from hypernoise.models.protocol import Generator
from hypernoise.models.qwen_image import QwenImage
from hypernoise.models.sana import SanaSprint
from hypernoise.models.sd3 import Sd3Turbo
from hypernoise.models.sdxl import SdxlTurbo
from hypernoise.models.unet import SdTurbo
from hypernoise.models.z_image import ZImageTurbo
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.noise import seeded_generator
from hypernoise.shapeworld.architectures import BUILDERS, MAX_TOKENS

SEEDS = [11, 12, 13]
#: One published component per family, per sampler that it is declared with, and of SD3 per size:
#: only the medium one has blocks with two attentions.
PUBLISHED = {
    (
        spec.target,
        *(str(spec.arguments.get(n, "")) for n in ("scheduler", "timesteps")),
        spec.architecture.startswith("sd3") and spec.architecture,
    ): spec
    for spec in published()
}
#: The examples' models, whose weights are in this project.
OWN = registered(REPOSITORY / "examples" / "models").models
FAMILIES = {
    **dict.fromkeys(sorted(BUILDERS)),
    **{spec.name: spec for spec in PUBLISHED.values()},
    **OWN,
}


#: PixArt-DMD is distilled for one step, and refuses more; two are for eight.
SAMPLINGS = [
    *((f, n) for f in FAMILIES for n in (1, 2, 4) if n == 1 or f != "pixart_alpha_dmd"),
    ("z_image_turbo", 8),
    ("qwen_image_lightning_8steps", 8),
]


def fresh(family: str, dtype: torch.dtype = torch.float32) -> Generator:
    spec = FAMILIES[family]
    if spec and spec.revision:
        return small_generator(spec, dtype)
    if spec:
        given = {"size_px": spec.size_px, **spec.arguments}
        generator: Generator = resolve(spec.target)(str(REPOSITORY / spec.weights), **given)
    else:
        generator = build_generator(family)
    generator.pipeline.to(dtype)
    return generator


@cache
def built(family: str) -> Generator:
    return fresh(family)


@pytest.fixture(params=FAMILIES)
def generator(request: pytest.FixtureRequest) -> Generator:
    """Each family in turn: of the embedded world, as published but narrow and shallow, and the
    examples' models."""
    return built(request.param)


@pytest.fixture(params=SAMPLINGS, ids=lambda sampling: f"{sampling[0]}-{sampling[1]}")
def sampling(request: pytest.FixtureRequest) -> tuple[Generator, int]:
    """Each family with one, two and four steps, as far as it takes them."""
    family, steps = request.param
    return built(family), steps


def run_stock_pipeline(generator: Any, noise: torch.Tensor, steps: int) -> torch.Tensor:
    """The call that a user of diffusers would write, prompts and all."""
    in_world = generator.size_px == 32
    arguments: dict[str, Any] = {"guidance_scale": 0.0}
    if isinstance(generator, SanaSprint):
        # The embedded world has no words for the instruction, which is on by default.
        arguments = {"complex_human_instruction": None} if in_world else {}
        arguments |= {
            "guidance_scale": 4.5,
            "intermediate_timesteps": 1.3 if steps == 2 else None,
            "use_resolution_binning": False,
            "max_sequence_length": MAX_TOKENS if in_world else 300,
        }
    if isinstance(generator, SanaSprint | SdxlTurbo):
        arguments |= {"generator": [seeded_generator(seed) for seed in SEEDS]}
    if isinstance(generator, SdxlTurbo):
        arguments |= {"eta": generator.eta, "timesteps": list(generator.timesteps[:steps]) or None}
    if isinstance(generator, PixartDmd):
        arguments = {
            "guidance_scale": 1.0,
            "timesteps": [400],
            "use_resolution_binning": False,
            "clean_caption": False,
        }
    if isinstance(generator, Flux2Klein):
        # As on the model's page.
        arguments = {"guidance_scale": 1.0}
    if isinstance(generator, QwenImage):
        arguments = {"true_cfg_scale": 1.0}
    if isinstance(generator, FluxSchnell | Sd3Turbo):
        arguments |= {"max_sequence_length": MAX_TOKENS if in_world else 256}
    images: torch.Tensor = generator.pipeline(
        prompt=list(PROMPTS),
        latents=noise,
        num_inference_steps=steps,
        height=generator.size_px,
        width=generator.size_px,
        output_type="pt",
        **arguments,
    ).images
    return images


def test_sampling_is_the_stock_pipeline_bit_for_bit(sampling: tuple[Generator, int]) -> None:
    generator, steps = sampling
    noise = noise_for(generator, 3)
    expected = run_stock_pipeline(generator, noise, steps)
    with torch.no_grad():
        found = generator.sample(noise, encode(generator, 3), steps, SEEDS)
    assert torch.equal(found, expected)
    assert found.shape == (3, 3, generator.size_px, generator.size_px)
    assert found.dtype == torch.float32
    assert 0 <= found.min() < found.max() <= 1


def test_recording_gradients_rounds_images_and_no_more(
    sampling: tuple[Generator, int],
) -> None:
    generator, steps = sampling
    # Joint attention takes another kernel when gradients are recorded.
    noise, conditioning = noise_for(generator, 3), encode(generator, 3)
    with torch.no_grad():
        expected = generator.sample(noise, conditioning, steps, SEEDS)
    found = generator.sample(noise.requires_grad_(True), conditioning, steps, SEEDS)
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", PUBLISHED.values(), ids=lambda spec: spec.name)
def test_sampling_in_bfloat16_is_the_stock_pipeline_bit_for_bit(spec: Any) -> None:
    generator = small_generator(spec, torch.bfloat16)
    noise = noise_for(generator, 3)
    # The samplers of two families keep the latents in float32.
    given = noise if isinstance(generator, SanaSprint | ZImageTurbo) else noise.bfloat16()
    expected = run_stock_pipeline(generator, given, 1)
    with torch.no_grad():
        found = generator.sample(noise, encode(generator, 3), 1, SEEDS)
    assert torch.equal(found, expected.float())


def test_a_noise_network_composes_with_the_stock_pipeline(network: NoiseNetwork) -> None:
    generator = network.generator
    stir(network.adapter)
    noise, conditioning = noise_for(generator, 3), encode(generator, 3)
    with torch.no_grad():
        moved = noise + network.delta(noise, conditioning)
        drawn = network.draw(noise, conditioning, 1, SEEDS).images
    assert not torch.equal(moved, noise)
    assert torch.equal(drawn, run_stock_pipeline(generator, moved, 1))


def test_gradients_reach_every_images_noise(sampling: tuple[Generator, int]) -> None:
    generator, steps = sampling
    noise = noise_for(generator, 3).requires_grad_(True)
    images = generator.sample(noise, encode(generator, 3), steps, SEEDS)
    images[:2].sum().backward()
    assert noise.grad is not None
    sizes = noise.grad.flatten(1).abs().sum(dim=1)
    assert (sizes[:2] > 0).all()
    # An image depends on no other image's noise.
    assert sizes[2] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_noise_gradient_is_the_slope_of_the_images(family: str) -> None:
    # Small steps, because SANA's many ReLUs bend the way: smaller than float32 resolves.
    generator = fresh(family, torch.float64)
    step = 1e-4
    noise, conditioning = noise_for(generator, 1), encode(generator, 1)
    direction = noise_for(generator, 1, seed=1)
    size = (3, generator.size_px, generator.size_px)
    weights = torch.randn(size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        image = generator.sample(noise, conditioning)
    # Pixels at the clamp have a kink there, where no difference quotient gives the slope.
    weights = weights * ((image > 0.05) & (image < 0.95))
    start = noise.clone().requires_grad_(True)
    (generator.sample(start, conditioning) * weights).sum().backward()
    assert start.grad is not None
    slope = (start.grad * direction).sum().item()
    with torch.no_grad():
        up, down = (
            (generator.sample(noise + sign * step * direction, conditioning) * weights)
            for sign in (1, -1)
        )
    quotient = (up.double().sum() - down.double().sum()).item() / (2 * step)
    # Images are float32: the rounding of their pixels, over this step, comes to about .01.
    assert quotient == pytest.approx(slope, rel=0.01, abs=0.02)


def test_images_do_not_depend_on_the_batch(sampling: tuple[Generator, int]) -> None:
    generator, steps = sampling
    noise, conditioning = noise_for(generator, 3), encode(generator, 3)
    with torch.no_grad():
        together = generator.sample(noise, conditioning, steps, SEEDS)
        alone = [
            generator.sample(noise[i : i + 1], conditioning.rows([i]), steps, SEEDS[i : i + 1])
            for i in range(3)
        ]
    # Matrix products sum in another order for another batch size: float32 rounding, a tenth of
    # an 8-bit pixel level at most.
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)


def test_prediction_has_the_shape_of_the_noise_and_reads_it(generator: Generator) -> None:
    noise, conditioning = noise_for(generator, 2), encode(generator, 2)
    with torch.no_grad():
        predicted = generator.predict(noise, conditioning)
        assert predicted.shape == (2, *generator.noise_shape)
        assert not torch.equal(predicted, generator.predict(-noise, conditioning))


def test_the_prompt_reaches_the_image(generator: Generator) -> None:
    noise = noise_for(generator, 1).expand(2, *generator.noise_shape)
    with torch.no_grad():
        images = generator.sample(noise, encode(generator, 2))
    assert (images[0] - images[1]).abs().max() > 1e-4


def test_chosen_rows_of_a_conditioning_are_those_prompts_encoded(generator: Generator) -> None:
    with torch.no_grad():
        chosen = encode(generator, 3).rows([2, 0, 2])
        encoded = generator.encode([PROMPTS[2], PROMPTS[0], PROMPTS[2]])
    assert chosen.prompts == encoded.prompts
    assert len(chosen) == 3
    for name, tensor in encoded.tensors.items():
        torch.testing.assert_close(chosen.tensors[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [0, -1])
def test_a_step_count_below_one_is_refused(generator: Generator, steps: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {steps}"):
        generator.sample(noise_for(generator, 1), encode(generator, 1), steps)


def test_a_model_distilled_for_one_step_refuses_two() -> None:
    generator = built("pixart_alpha_dmd")
    with pytest.raises(ValueError, match="one step, and was asked for 2"):
        generator.sample(noise_for(generator, 1), encode(generator, 1), 2)


def test_a_decoder_that_runs_out_of_memory_says_so(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Batches are halved for it; one stock pipeline makes a warning and another error of it.
    def decode(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(generator.pipeline.vae, "decode", decode)
    with warnings.catch_warnings(), pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        warnings.simplefilter("ignore")
        generator.sample(noise_for(generator, 1), encode(generator, 1))


def test_a_sampler_that_draws_noise_needs_a_seed_per_image(tiny_sana: Generator) -> None:
    noise, conditioning = noise_for(tiny_sana, 2), encode(tiny_sana, 2)
    for seeds, given in ((None, "none"), ([1], "1")):
        with pytest.raises(ValueError, match=f"2 images, {given} seeds"):
            tiny_sana.sample(noise, conditioning, 2, seeds)


def test_seeds_decide_sanas_later_steps_per_image(tiny_sana: Generator) -> None:
    noise, conditioning = noise_for(tiny_sana, 2), encode(tiny_sana, 2)
    with torch.no_grad():
        one = tiny_sana.sample(noise, conditioning, 2, [1, 2])
        two = tiny_sana.sample(noise, conditioning, 2, [1, 3])
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])


@pytest.mark.parametrize(
    ("family", "wrapper"),
    [("tiny_sd", SdTurbo), ("tiny_sana", SanaSprint), ("tiny_flux", FluxSchnell)],
)
def test_a_saved_pipeline_loads_frozen_and_draws_the_same(
    family: str, wrapper: Any, tmp_path: Path
) -> None:
    original = build_generator(family)
    original.pipeline.save_pretrained(tmp_path)
    tokens: dict[str, Any] = {} if wrapper is SdTurbo else {"max_tokens": MAX_TOKENS}
    if wrapper is SanaSprint:
        tokens["human_instruction"] = False
    loaded = wrapper(weights=str(tmp_path), size_px=32, **tokens)
    assert not any(p.requires_grad for p in loaded.backbone.parameters())
    assert not loaded.backbone.training
    noise = noise_for(original, 2)
    with torch.no_grad():
        expected = original.sample(noise, encode(original))
        assert torch.equal(loaded.sample(noise, encode(loaded)), expected)
