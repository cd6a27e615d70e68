"""Old home of what stands in the other modules of this package; goes when nothing asks for it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.build.devices import check_device, default_device, dtype_of, free_memory_bytes
from harness.build.generators import (
    build_generator,
    check_generator,
    check_memory,
    generator_files,
)
from harness.build.methods import (
    build_method,
    build_untrained_method,
    check_adapter,
    check_arguments,
    words_prompts,
)
from harness.build.prompts import Prompt, load_prompts, prompt_texts
from harness.build.rewards import build_reward, check_reward, reward_files
from harness.build.similarities import build_comparison, check_comparison
from harness.experiment.components import MethodSpec, ModelSpec, RewardSpec
from hypernoise.weights.whole_network import hush_transformers, whole_network

__all__ = [
    "Prompt",
    "build_comparison",
    "build_generator",
    "build_method",
    "build_reward",
    "build_untrained_method",
    "check_adapter",
    "check_comparison",
    "check_device",
    "check_keywords",
    "check_memory",
    "check_reward_weights",
    "check_weights",
    "default_device",
    "dtype_of",
    "free_memory_bytes",
    "hush_transformers",
    "load_prompts",
    "prompt_texts",
    "weight_paths",
    "whole_network",
    "words_prompts",
]

check_keywords = check_arguments


def check_weights(model: ModelSpec, rewards: Iterable[RewardSpec] = ()) -> None:
    """As the checks of a generator and of rewards."""
    check_generator(model)
    check_reward_weights(rewards)


def check_reward_weights(rewards: Iterable[RewardSpec]) -> None:
    """As the check of each reward."""
    for reward in rewards:
        check_reward(reward)


def weight_paths(model: ModelSpec, rewards: Iterable[RewardSpec] = ()) -> list[str]:
    """Files of a generator and of rewards."""
    return [*generator_files(model), *(file for one in rewards for file in reward_files(one))]


def check_method(spec: MethodSpec, adapter: str | None) -> None:
    """As the checks of an adapter and of arguments."""
    check_adapter(spec, adapter)
    check_arguments(spec)
