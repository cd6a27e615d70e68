"""How the tiny generators are pretrained: phases, and what each dwells on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

TaskWeights = Mapping[str, float]
#: Share of each task in a batch: binding two objects is learned last and needs most of it.
TASK_WEIGHTS: TaskWeights = {
    "single_object": 0.06,
    "two_object": 0.20,
    "counting": 0.12,
    "colors": 0.10,
    "position": 0.27,
    "color_attr": 0.25,
}
#: Shares in a phase that dwells on relations, and in the last one, which dwells on numbers, too:
#: both are learned last of all.
RELATIONS_WEIGHTS: TaskWeights = {
    "single_object": 0.06,
    "two_object": 0.16,
    "counting": 0.14,
    "colors": 0.06,
    "position": 0.40,
    "color_attr": 0.18,
}
NUMBERS_WEIGHTS: TaskWeights = {
    "single_object": 0.06,
    "two_object": 0.15,
    "counting": 0.30,
    "colors": 0.04,
    "position": 0.28,
    "color_attr": 0.17,
}
#: Above this angle SANA's later phases lay a scene out anew: noise has hidden the old one, and
#: a network that tries to recover it can only blur.
RESTART_ANGLE = 0.9
#: TrigFlow's largest angle.
ONLY_NOISE = math.pi / 2


@dataclass(frozen=True)
class Phase:
    """One learning-rate schedule of a training; ``restart_angle`` as :data:`RESTART_ANGLE`."""

    steps: int
    learning_rate: float
    task_weights: TaskWeights
    restart_angle: float = ONLY_NOISE


@dataclass(frozen=True)
class Recipe:
    """How one family is pretrained.

    ``refine_share`` is the part of a SANA batch that starts from partly noised latents instead of
    pure noise, and ``rollout_share`` the part of those whose latents are what the network itself
    makes of the noise: several steps start from its own first guess, not from a perfect scene.
    """

    family: str
    phases: tuple[Phase, ...]
    vae_steps: int = 800
    batch_size: int = 64
    vae_batch_size: int = 32
    vae_learning_rate: float = 3e-3
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    warmup_steps: int = 100
    refine_share: float = 0.0
    rollout_share: float = 0.0
    seed: int = 0


RECIPES = {
    recipe.family: recipe
    for recipe in (
        Recipe(
            "tiny_sd",
            (
                Phase(2800, 2e-3, TASK_WEIGHTS),
                Phase(1600, 1.5e-3, NUMBERS_WEIGHTS),
                Phase(700, 1.5e-3, NUMBERS_WEIGHTS),
            ),
            vae_steps=1200,
        ),
        Recipe(
            "tiny_sana",
            (
                Phase(2100, 2e-3, TASK_WEIGHTS),
                Phase(1000, 1.5e-3, RELATIONS_WEIGHTS, RESTART_ANGLE),
                Phase(700, 1.5e-3, NUMBERS_WEIGHTS, RESTART_ANGLE),
                Phase(500, 1.5e-3, NUMBERS_WEIGHTS, RESTART_ANGLE),
            ),
            refine_share=0.4,
            rollout_share=0.6,
        ),
        Recipe(
            "tiny_flux",
            (Phase(2600, 2e-3, TASK_WEIGHTS), Phase(750, 1.5e-3, NUMBERS_WEIGHTS)),
        ),
    )
}
