"""What a hook sees of a sampler's steps, and what it can change."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from published import published, small_generator
from toys import build_generator, encode, noise_for

from hypernoise.models.protocol import STOP, Generator, Step, Walk
from hypernoise.models.steps import Watched
from hypernoise.noise import seeded_generator
from hypernoise.shapeworld.architectures import BUILDERS

SEEDS = [11, 12]
STEPS = 4
#: One per family and sampler; PixArt-DMD's pipeline has no hook.
FAMILIES = {
    **dict.fromkeys(sorted(BUILDERS)),
    **{
        (spec.target, str(spec.arguments.get("scheduler", ""))): spec
        for spec in published()
        if spec.name != "pixart_alpha_dmd"
    },
}


@cache
def built(family: Any) -> Generator:
    spec = FAMILIES[family]
    return small_generator(spec) if spec else build_generator(family)


def named(family: Any) -> str:
    return family if isinstance(family, str) else FAMILIES[family].name


@pytest.fixture(params=FAMILIES, ids=named)
def family(request: pytest.FixtureRequest) -> Generator:
    return built(request.param)


class Seen:
    """A hook that changes nothing."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        self.steps.append(step)


def formula(scheduler: Any, step: int, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The clean prediction by the scheduler's publication, from its own schedule."""
    name, timesteps = type(scheduler).__name__, scheduler.timesteps
    if name == "SCMScheduler":
        # TrigFlow (arXiv 2410.11081): cos(t) z - sin(t) F.
        return math.cos(timesteps[step]) * sample - math.sin(timesteps[step]) * output
    if name == "FlowMatchEulerDiscreteScheduler":
        # Rectified flow (arXiv 2209.03003): z - s v.
        return sample - float(scheduler.sigmas[step]) * output
    predicts_sample = scheduler.config.prediction_type == "sample"
    if name.startswith("Euler"):
        # With z = x0 + s e (arXiv 2206.00364).
        return output if predicts_sample else sample - float(scheduler.sigmas[step]) * output
    # DDIM (arXiv 2010.02502, equation 12).
    kept = float(scheduler.alphas_cumprod[timesteps[step]])
    clean = (sample - math.sqrt(1 - kept) * output) / math.sqrt(kept)
    if name != "LCMScheduler":
        return clean
    # Consistency function with its boundary condition (arXiv 2310.04378, equation 9).
    scaled = float(timesteps[step]) * scheduler.config.timestep_scaling
    skip = 0.25 / (scaled**2 + 0.25)
    return scaled / math.sqrt(scaled**2 + 0.25) * clean + skip * sample


def test_a_hook_that_changes_nothing_leaves_images_and_gradients_alike(family: Generator) -> None:
    plain, watched = (noise_for(family, 2).requires_grad_() for _ in range(2))
    conditioning, seen = encode(family), Seen()
    expected = family.sample(plain, conditioning, STEPS, SEEDS)
    images = family.sample(watched, conditioning, STEPS, SEEDS, Walk(seen))
    assert torch.equal(images, expected)
    expected.sum().backward()
    images.sum().backward()
    assert plain.grad is not None and watched.grad is not None
    assert torch.equal(watched.grad, plain.grad)
    assert watched.grad.any()
    assert [step.number for step in seen.steps] == list(range(STEPS))
    # Predictions carry gradients too.
    (slope,) = torch.autograd.grad(
        family_clean(family, watched, conditioning).square().sum(), watched
    )
    assert slope.flatten(1).any(dim=1).all()


def family_clean(family: Generator, noise: torch.Tensor, conditioning: Any) -> torch.Tensor:
    seen = Seen()
    family.sample(noise, conditioning, 2, SEEDS, Walk(seen))
    return seen.steps[0].clean


def test_the_clean_prediction_is_that_of_the_samplers_publication(
    family: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[torch.Tensor] = []
    told = Watched.told

    def compared(self: Any, index: int, n_steps: int, latents: torch.Tensor) -> Step:
        seen = self._seen
        found.append(formula(self._scheduler, index, seen.sample.float(), seen.output.float()))
        return told(self, index, n_steps, latents)

    monkeypatch.setattr(Watched, "told", compared)
    seen = Seen()
    with torch.no_grad():
        family.sample(noise_for(family, 2), encode(family), STEPS, SEEDS, Walk(seen))
    for step, clean in zip(seen.steps, found, strict=True):
        torch.testing.assert_close(step.clean, clean, rtol=1e-4, atol=1e-4)


def test_latents_redrawn_with_no_new_noise_are_those_of_a_deterministic_sampler(
    family: Generator,
) -> None:
    kind, seen = type(family.pipeline.scheduler).__name__, Seen()
    # The others draw noise of their own.
    deterministic = kind in ("EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler")
    with torch.no_grad():
        family.sample(noise_for(family, 2), encode(family), STEPS, SEEDS, Walk(seen))
    for step in seen.steps[:-1]:
        again = step.redrawn(torch.randn(step.noise.shape), eta=0.0)
        far = float((again - step.latents).abs().max() / step.latents.abs().max())
        assert far < 1e-4 if deterministic else far > 1e-3


def test_redrawn_latents_have_the_noise_that_their_level_has() -> None:
    zero = torch.zeros(1, 200_000)
    step = Step(0, 4, zero, zero + 3.0, torch.randn(1, 200_000), 0.8, 0.6)
    for eta in (0.0, 0.5, 1.0):
        drawn = step.redrawn(torch.randn(1, 200_000), eta)
        assert abs(float(drawn.mean()) - 0.8 * 3.0) < 0.01
        assert abs(float(drawn.std()) - 0.6) < 0.01


def test_a_sampler_that_is_stopped_and_goes_on_makes_the_same_image(family: Generator) -> None:
    conditioning, latents, seen = encode(family), noise_for(family, 2), Seen()
    sources = [seeded_generator(seed) for seed in SEEDS]
    with torch.no_grad():
        expected = family.sample(latents, conditioning, STEPS, SEEDS, Walk(seen))
        for level in range(STEPS):
            last: list[Step] = []

            def stop(step: Step, into: list[Step] = last) -> Any:
                into.append(step)
                return STOP

            walk = Walk(stop, level)
            images = family.sample(latents, conditioning, STEPS, sources, walk)
            assert [step.number for step in last] == [level]
            assert torch.equal(last[0].clean, seen.steps[level].clean)
            latents = last[0].latents
    assert torch.equal(images, expected)


def test_a_stopped_sampler_shows_its_clean_prediction(tiny_sd: Generator) -> None:
    conditioning, noise, seen = encode(tiny_sd), noise_for(tiny_sd, 2), Seen()
    with torch.no_grad():
        tiny_sd.sample(noise, conditioning, STEPS, SEEDS, Walk(seen))
        for level in range(STEPS):
            walk = Walk(lambda step, level=level: STOP if step.number == level else None)
            images = tiny_sd.sample(noise, conditioning, STEPS, SEEDS, walk)
            decoded = tiny_sd.pipeline.vae.decode(seen.steps[level].clean).sample
            torch.testing.assert_close(images, (decoded / 2 + 0.5).clamp(0, 1), rtol=0, atol=1e-4)


def test_a_sampler_goes_on_from_the_latents_that_a_hook_gives_back(family: Generator) -> None:
    noise, conditioning = noise_for(family, 2), encode(family)
    with torch.no_grad():
        plain = family.sample(noise, conditioning, STEPS, SEEDS)
        swap = Walk(lambda step: step.latents.flip(0) if step.number == 1 else None)
        swapped = family.sample(noise, conditioning, STEPS, SEEDS, swap)
    assert not torch.equal(swapped, plain)
    assert type(family.pipeline.scheduler) is not Watched


def test_latents_that_a_sampler_cannot_go_on_from_are_refused(tiny_sana: Generator) -> None:
    noise, conditioning = noise_for(tiny_sana, 2), encode(tiny_sana)

    def sampled(walk: Walk) -> None:
        with torch.no_grad():
            tiny_sana.sample(noise, conditioning, STEPS, SEEDS, walk)

    with pytest.raises(ValueError, match=r"after step 0 of 4 .* shape \[1, 4, 8, 8\]"):
        sampled(Walk(lambda step: step.latents[:1]))
    with pytest.raises(ValueError, match="after the last step nothing is sampled"):
        sampled(Walk(lambda step: step.latents if step.number == STEPS - 1 else None))
    for start in (-1, STEPS):
        with pytest.raises(ValueError, match=f"start must be a step from 0 to 3, got {start}"):
            sampled(Walk(Seen(), start))
    assert type(tiny_sana.pipeline.scheduler).__name__ == "SCMScheduler"


def test_samplers_whose_steps_cannot_be_seen_are_refused() -> None:
    (spec,) = (spec for spec in published() if spec.name == "pixart_alpha_dmd")
    pixart = small_generator(spec)
    with pytest.raises(ValueError, match="PixArtAlphaPipeline cannot be seen: it has no callback"):
        pixart.sample(noise_for(pixart, 2), encode(pixart), 1, SEEDS, Walk(Seen()))
    with pytest.raises(ValueError, match="clean prediction of a DDPMScheduler cannot be had"):
        Watched(pixart.pipeline.scheduler, Walk(Seen()))
