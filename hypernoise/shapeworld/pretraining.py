"""Train the tiny generators from scratch on the CPU, data generated on the fly.

How a one-step generator comes about here: the world defines a map (noise, caption) -> scene
(:mod:`hypernoise.shapeworld.scenes`), and the network regresses the latents of that scene, from
pure noise and in one pass. No teacher is distilled; the map plays the teacher's part. The SANA
family also learns to continue from partly noised scenes, which is what its further steps need.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hypernoise.models.flux import FluxSchnell
from hypernoise.models.protocol import Conditioning
from hypernoise.models.sana import SanaSprint
from hypernoise.models.unet import SdTurbo
from hypernoise.progress import Progress
from hypernoise.shapeworld.architectures import BUILDERS, MAX_TOKENS
from hypernoise.shapeworld.captions import TASKS, Caption, captions
from hypernoise.shapeworld.matcher_files import Network, save_network
from hypernoise.shapeworld.recipes import ONLY_NOISE, TASK_WEIGHTS, Phase, Recipe, TaskWeights
from hypernoise.shapeworld.scenes import (
    CELL_PX,
    GRID,
    SIZE_PX,
    Scene,
    lay_out,
    noise_features,
    render_batch,
)

RECIPE_FILE = "pretraining.json"


@dataclass
class Data:
    """A seeded, endless source of captions, noise and scenes."""

    rng: np.random.Generator
    noise_rng: torch.Generator
    by_task: dict[str, list[Caption]] = field(default_factory=dict)
    task_weights: TaskWeights = field(default_factory=lambda: TASK_WEIGHTS)

    @classmethod
    def seeded(cls, seed: int, splits: Sequence[str] = ("train", "reward")) -> Data:
        members = [caption for split in splits for caption in captions(split)]
        by_task = {task: [c for c in members if c.task == task] for task in TASKS}
        return cls(np.random.default_rng(seed), torch.Generator().manual_seed(seed), by_task)

    def captions(self, n: int) -> list[Caption]:
        tasks = self.rng.choice(list(self.task_weights), size=n, p=list(self.task_weights.values()))
        return [self.by_task[t][self.rng.integers(len(self.by_task[t]))] for t in tasks]

    def noise(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(*shape, generator=self.noise_rng)

    def loose_images(self, n: int) -> tuple[Tensor, list[Caption]]:
        """Images [n, 3, 32, 32] with objects off the grid, faded, overlapping; and their captions.

        A generator draws ghosts and smears too, so autoencoders and rewards must know them.
        """
        scenes = []
        chosen = self.captions(n)
        features = noise_features(self.noise((n, 4, GRID, GRID))).numpy()
        for caption, feature in zip(chosen, features, strict=True):
            scene = lay_out(caption, feature)
            objects = tuple(
                replace(
                    placed,
                    row=placed.row + self.rng.integers(-CELL_PX // 2, CELL_PX // 2 + 1),
                    col=placed.col + self.rng.integers(-CELL_PX // 2, CELL_PX // 2 + 1),
                    opacity=1.0 if self.rng.random() < 0.6 else float(self.rng.uniform(0.2, 1.0)),
                )
                for placed in scene.objects
            )
            scenes.append(Scene(objects, scene.background))
        images = render_batch(scenes)
        blend = torch.from_numpy(self.rng.uniform(0.3, 0.7, n).astype(np.float32))
        blend = torch.where(torch.from_numpy(self.rng.random(n) < 0.25), blend, 1.0)
        weight = blend[:, None, None, None]
        return weight * images + (1 - weight) * images.flip(0), chosen


def generator_for(family: str, pipeline: Any) -> Any:
    """The Generator of one of the world's families around a pipeline."""
    if family == "tiny_sd":
        return SdTurbo(pipeline=pipeline, size_px=SIZE_PX)
    if family == "tiny_sana":
        # The instruction's words are not in the world's vocabulary.
        return SanaSprint(
            pipeline=pipeline, size_px=SIZE_PX, max_tokens=MAX_TOKENS, human_instruction=False
        )
    return FluxSchnell(pipeline=pipeline, size_px=SIZE_PX, max_tokens=MAX_TOKENS)


def pretrain(recipe: Recipe, folder: Path) -> None:
    """Train one family and save it as a diffusers folder, in half precision.

    Args:
        recipe: what to train, and how long.
        folder: where the pipeline goes; a ``pretraining.json`` next to it records the recipe.
    """
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    pipeline = BUILDERS[recipe.family]()
    pipeline.set_progress_bar_config(disable=True)
    data = Data.seeded(recipe.seed)
    vae_loss = train_autoencoder(pipeline.vae, recipe, data)
    loss = train_generator(pipeline, recipe, data)
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    record = {
        "recipe": asdict(recipe),
        "vae_mse": vae_loss,
        "latent_mse": loss,
        "seconds": round(time.monotonic() - started),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    (folder / RECIPE_FILE).write_text(json.dumps(record, indent=2) + "\n")


def train_autoencoder(vae: Any, recipe: Recipe, data: Data) -> float:
    """Fit the autoencoder, then set its scaling factor so that latents have unit variance.

    Returns:
        the mean squared error in [-1, 1] over the last steps.
    """
    optimizer = torch.optim.AdamW(vae.parameters(), lr=recipe.vae_learning_rate)
    losses = []
    progress = Progress(f"pretrain VAE of {recipe.family}", recipe.vae_steps, "steps")
    for _ in progress.each(schedule(optimizer, recipe.vae_learning_rate, recipe.vae_steps, 50)):
        images = data.loose_images(recipe.vae_batch_size)[0] * 2 - 1
        latents = encode_latents(vae, images)
        # Latents a little off must still decode well: that is what a generator will hand over.
        noisy = latents + 0.05 * torch.randn_like(latents)
        decoded = vae.decode(noisy, return_dict=False)[0]
        error = (decoded - images).square().mean()
        # One scaling factor serves all channels only if they are alike.
        channels = latents.transpose(0, 1).flatten(1)
        mean, variance = channels.mean(dim=1), channels.var(dim=1)
        moments = mean.square().mean() + (variance - 1).square().mean()
        optimise(optimizer, error + 0.01 * moments, vae.parameters(), recipe.grad_clip)
        losses.append(error.item())
        progress.note = f"mse {np.mean(losses[-100:]):.5f}"
    with torch.no_grad():
        latents = encode_latents(vae, data.loose_images(512)[0] * 2 - 1)
    vae.register_to_config(scaling_factor=1.0 / latents.std().item())
    if vae.config.get("shift_factor") is not None:
        vae.register_to_config(shift_factor=latents.mean().item())
    vae.requires_grad_(False)
    return float(np.mean(losses[-100:]))


def encode_latents(vae: Any, images: Tensor) -> Tensor:
    """Unscaled latents of images in [-1, 1]: the mode where the encoder gives a distribution."""
    encoded = vae.encode(images)
    latents: Tensor = encoded.latent if hasattr(encoded, "latent") else encoded.latent_dist.mode()
    return latents


def train_generator(pipeline: Any, recipe: Recipe, data: Data) -> float:
    """Fit backbone and text encoders to the world's map; returns the last latent error."""
    loss = math.nan
    for number, phase in enumerate(recipe.phases):
        if number:
            # A phase starts from what a saved folder would hold, so it can be run again from there.
            with torch.no_grad():
                for _, network in _networks(pipeline):
                    for parameter in network.parameters():
                        parameter.copy_(parameter.half())
            data = Data.seeded(recipe.seed + number)
        data.task_weights = phase.task_weights
        loss = train_phase(pipeline, recipe, phase, data)
    return loss


def train_phase(pipeline: Any, recipe: Recipe, phase: Phase, data: Data) -> float:
    """One phase of :func:`train_generator`."""
    generator = generator_for(recipe.family, pipeline)
    parameters = [
        p for name, network in _networks(pipeline) if name != "vae" for p in network.parameters()
    ]
    optimizer = torch.optim.AdamW(
        parameters, lr=phase.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
    )
    losses: list[float] = []
    progress = Progress(f"pretrain {recipe.family}", phase.steps, "steps")
    steps = schedule(optimizer, phase.learning_rate, phase.steps, recipe.warmup_steps)
    for _ in progress.each(steps):
        loss = _generator_loss(generator, recipe, phase, data)
        optimise(optimizer, loss, parameters, recipe.grad_clip)
        losses.append(loss.item())
        progress.note = f"mse {np.mean(losses[-50:]):.4f}"
    return float(np.mean(losses[-50:]))


def _networks(pipeline: Any) -> list[tuple[str, nn.Module]]:
    items = pipeline.components.items()
    return [(name, module) for name, module in items if isinstance(module, nn.Module)]


def _generator_loss(generator: Any, recipe: Recipe, phase: Phase, data: Data) -> Tensor:
    chosen = data.captions(recipe.batch_size)
    noise = data.noise((recipe.batch_size, *generator.noise_shape))
    target = scene_latents(generator, chosen, noise)
    conditioning = generator.encode([caption.text for caption in chosen])
    n_refined = round(recipe.refine_share * recipe.batch_size)
    if not n_refined:
        predicted = one_step_latents(generator, noise, conditioning)
        return (predicted - target).square().mean()
    n_own = round(recipe.rollout_share * n_refined)
    known = first_guess(generator, noise, target, conditioning, n_own)
    angle = torch.full((len(noise),), ONLY_NOISE)
    angle[:n_refined] = 0.2 + 1.1 * torch.rand(n_refined, generator=data.noise_rng)
    fresh = data.noise(noise.shape)
    view = (-1, 1, 1, 1)
    mixed = angle.cos().view(view) * known + angle.sin().view(view) * fresh
    start = torch.where((torch.arange(len(noise)) < n_refined).view(view), mixed, noise)
    restarted = ((angle > phase.restart_angle) & (angle < ONLY_NOISE)).nonzero().flatten().tolist()
    if restarted:
        target[restarted] = scene_latents(
            generator, [chosen[i] for i in restarted], start[restarted]
        )
    predicted = clean_latents(generator, start, angle, conditioning)
    return (predicted - target).square().mean()


def scene_latents(generator: Any, chosen: Sequence[Caption], noise: Tensor) -> Tensor:
    """What the world's map shows for captions from noise, as latents in noise shape.

    They are normalised as the stock pipelines expect them before decoding.
    """
    vae = generator.pipeline.vae
    packed = isinstance(generator, FluxSchnell)
    grid = generator.grid(noise) if packed else noise
    features = noise_features(grid).numpy()
    scenes = [lay_out(c, f) for c, f in zip(chosen, features, strict=True)]
    with torch.no_grad():
        latents = encode_latents(vae, render_batch(scenes) * 2 - 1)
    shift = vae.config.get("shift_factor") or 0.0
    latents = (latents - shift) * float(vae.config.scaling_factor)
    return generator.pack(latents) if packed else latents


def one_step_latents(generator: Any, noise: Tensor, conditioning: Conditioning) -> Tensor:
    """The latents that the family's stock sampler reaches in one step, without the sampler.

    The UNet's scheduler reads its output as the clean latents; the two transformers give the flow
    velocity z - x at the largest timestep.
    """
    out: Tensor = generator.predict(noise, conditioning)
    return out if isinstance(generator, SdTurbo) else noise - out


def first_guess(
    generator: SanaSprint, noise: Tensor, target: Tensor, conditioning: Conditioning, n_own: int
) -> Tensor:
    """What several steps start from, [B, C, H, W] without gradients.

    The first ``n_own`` rows are the network's own one-step latents, the others the true ones.
    """
    if not n_own:
        return target
    with torch.no_grad():
        rows = conditioning.rows(list(range(n_own)))
        guess = one_step_latents(generator, noise[:n_own], rows)
    return torch.cat([guess, target[n_own:]])


def clean_latents(
    generator: SanaSprint, start: Tensor, angle: Tensor, conditioning: Conditioning
) -> Tensor:
    """What the stock TrigFlow step makes of noised latents at angles [B] in (0, pi/2]."""
    view = (-1, 1, 1, 1)
    timestep = angle.sin() / (angle.cos() + angle.sin())
    s = timestep.view(view)
    norm = (s.square() + (1 - s).square()).sqrt()
    scaled = start * norm
    out = generator.predict_at(scaled, timestep, conditioning)
    velocity = ((1 - 2 * s) * scaled + (1 - 2 * s + 2 * s.square()) * out) / norm
    return angle.cos().view(view) * start - angle.sin().view(view) * velocity


class NetworkRecipe(Protocol):
    """What a reward's and the judge's recipes have in common; they are dataclasses."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str: ...

    @property
    def steps(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...


def train_network(
    network: Network,
    recipe: NetworkRecipe,
    loss: Callable[[], Tensor],
    path: Path,
    started: float,
) -> None:
    """Train the network of a reward or judge, and save it with its recipe.

    Args:
        loss: that of the next batch, a scalar.
        path: safetensors file to write.
        started: when the work for it began, by the monotonic clock in seconds.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.02)
    losses: list[float] = []
    progress = Progress(f"pretrain {recipe.name}", recipe.steps, "steps")
    for _ in progress.each(schedule(optimizer, recipe.learning_rate, recipe.steps, 100)):
        found = loss()
        optimise(optimizer, found, network.parameters(), 1.0)
        losses.append(found.item())
        progress.note = f"loss {np.mean(losses[-100:]):.4f}"
    facts = {"recipe": json.dumps(asdict(recipe)), "seconds": f"{time.monotonic() - started:.0f}"}
    save_network(network, path, facts)


def schedule(
    optimizer: torch.optim.Optimizer, peak: float, steps: int, warmup: int
) -> Iterator[int]:
    """Steps 0, 1, …, each with its learning rate set: linear warm-up to ``peak``, then cosine."""
    for step in range(steps):
        progress = max(0.0, (step - warmup) / max(1, steps - warmup))
        factor = min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = peak * factor
        yield step


def optimise(
    optimizer: torch.optim.Optimizer, loss: Tensor, parameters: Any, grad_clip: float
) -> None:
    """One optimizer step on a loss, with clipped gradients."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(list(parameters), grad_clip)
    optimizer.step()
