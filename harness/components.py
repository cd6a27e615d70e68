"""From declarations to live components: prompts, generators, rewards, methods."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from harness.specs import (
    MethodSpec,
    ModelSpec,
    PromptsSpec,
    RewardSpec,
    SpecError,
    resolve,
    unknown,
)
from hypernoise.adapter import CONFIG_FILE, WEIGHTS_FILE, load_trained
from hypernoise.methods.protocol import Method
from hypernoise.models.protocol import Generator
from hypernoise.rewards.protocol import Reward
from hypernoise.weights import check_file, check_folder

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: What a file name may hold on every system.
_SAFE_ID = re.compile(r"[\w.-]+")


class Prompt(Protocol):
    """A prompt with an identity; benchmarks that have a scorer add ``metadata``."""

    @property
    def prompt_id(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def task(self) -> str: ...


def default_device() -> str:
    """The device that a job runs on: the GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_prompts(spec: PromptsSpec) -> list[Any]:
    """The prompts that a target gives, in its order.

    Raises:
        ValueError: there are none, a text is empty, or an id is unusable or occurs twice.
    """
    found = list(resolve(spec.target)(**spec.arguments))
    called = f"{spec.target}({', '.join(f'{k}={v!r}' for k, v in spec.arguments.items())})"
    if not found:
        raise ValueError(f"{called} gives no prompts; at least one is needed")
    seen: set[str] = set()
    for prompt in found:
        name = prompt.prompt_id
        if not _SAFE_ID.fullmatch(name):
            raise ValueError(f"{called}: prompt id {name!r} must be letters, digits, '.', '_', '-'")
        if name in seen:
            raise ValueError(f"{called}: prompt id {name!r} occurs twice")
        if not prompt.text.strip():
            raise ValueError(f"{called}: the text of prompt {name!r} is empty")
        seen.add(name)
    return found


def check_weights(model: ModelSpec, rewards: Iterable[RewardSpec] = ()) -> None:
    """Find missing or truncated weight files before anything is loaded.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a file is truncated.
    """
    # A hub name has one slash; what has more of them can only be a folder.
    if model.weights.count("/") > 1 and not Path(model.weights).exists():
        raise FileNotFoundError(f"weights of model {model.name!r}: no folder {model.weights}")
    check_folder(model.weights)
    check_reward_weights(rewards)


def check_reward_weights(rewards: Iterable[RewardSpec]) -> None:
    """As :func:`check_weights`, for rewards whose ``weights`` are a safetensors file."""
    for reward in rewards:
        weights = reward.arguments.get("weights")
        if isinstance(weights, str) and weights.endswith(".safetensors"):
            check_file(Path(weights))


def weight_paths(model: ModelSpec, rewards: Iterable[RewardSpec] = ()) -> list[str]:
    """Local files and folders that the components read, for :func:`harness.jobs.job_hash`."""
    named = [model.weights, *(reward.arguments.get("weights") for reward in rewards)]
    return [path for path in named if isinstance(path, str) and Path(path).exists()]


def prompt_texts(prompts: Iterable[Prompt]) -> list[tuple[str, str]]:
    """(prompt_id, text) of each prompt."""
    return [(prompt.prompt_id, prompt.text) for prompt in prompts]


def build_generator(spec: ModelSpec, device: str) -> Generator:
    """Load a generator, frozen.

    Raises:
        SpecError: the target does not take an argument, or a dtype is unknown.
        FileNotFoundError, ValueError: as in :func:`check_weights`.
    """
    _hush_loading_bars()
    arguments = {"weights": spec.weights, "size_px": spec.size_px, **spec.arguments}
    if spec.revision:
        arguments["revision"] = spec.revision
    generator: Generator = _build(spec.target, arguments, device, spec.file)
    return generator


def build_reward(spec: RewardSpec, device: str) -> Reward:
    """Load a reward. Raises as :func:`build_generator`."""
    reward: Reward = _build(spec.target, dict(spec.arguments), device, spec.file)
    return reward


def build_method(spec: MethodSpec, generator: Generator, adapter: str | None) -> Method:
    """A method, with its trained network attached to the generator's backbone if it has one.

    Raises:
        SpecError: it needs an adapter and gets none, or the other way round.
        FileNotFoundError: the adapter's folder or a file in it is missing.
        ValueError: an adapter file is truncated.
    """
    check_method(spec, adapter)
    factory = resolve(spec.target)
    arguments = dict(spec.arguments)
    if spec.searcher is not None:
        arguments["search"] = build_method(spec.searcher, generator, None)
    if spec.trains is None:
        method: Method = factory(**arguments)
        return method
    trained = load_trained(spec.trains, generator, Path(adapter or ""))
    method = factory(trained, **arguments)
    return method


def check_method(spec: MethodSpec, adapter: str | None) -> None:
    """Check a method's arguments and its adapter, without a generator.

    Raises: as :func:`build_method`, and what the target itself says about its arguments.
    """
    check_adapter(spec, adapter)
    factory = resolve(spec.target)
    _check_keywords(spec.target, spec.arguments, inspect.signature(factory).parameters, spec.file)
    if spec.searcher is not None:
        check_method(spec.searcher, None)
    elif spec.trains is None:
        factory(**spec.arguments)


def check_adapter(spec: MethodSpec, adapter: str | None) -> None:
    """Check that a method gets an adapter if and only if it trains one, and that it is whole.

    Raises: as :func:`build_method`.
    """
    if spec.trains is None:
        if adapter is not None:
            raise SpecError(f"method {spec.name!r} trains nothing, but got the adapter {adapter}")
        return
    if adapter is None:
        raise SpecError(f"method {spec.name!r} needs the folder of a trained {spec.trains} adapter")
    folder = Path(adapter)
    if not folder.is_dir():
        raise FileNotFoundError(f"adapter folder {folder} of method {spec.name!r} is missing")
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"no PEFT adapter in {folder}: {CONFIG_FILE} is missing")
    check_file(folder / WEIGHTS_FILE)


def check_reward(spec: MethodSpec, reward: RewardSpec | None) -> None:
    """Check that a method has a reward if, and only if, it searches or was trained on one."""
    uses_reward = spec.needs_reward or spec.trains is not None
    if uses_reward and reward is None:
        raise SpecError(f"method {spec.name!r} needs a reward")
    if not uses_reward and reward is not None:
        raise SpecError(f"method {spec.name!r} uses no reward, but got {reward.name!r}")


def _hush_loading_bars() -> None:
    # They would bury the bar that counts images. Both packages import torchvision, so not before
    # hypernoise has mended it.
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _build(target: str, arguments: dict[str, Any], device: str, file: str) -> Any:
    factory = resolve(target)
    parameters = inspect.signature(factory).parameters
    if "device" in parameters:
        arguments.setdefault("device", device)
    if "dtype" in arguments:
        arguments["dtype"] = _dtype(arguments["dtype"], file)
    _check_keywords(target, arguments, parameters, file)
    return factory(**arguments)


def _check_keywords(
    target: str,
    arguments: Mapping[str, Any],
    parameters: Mapping[str, inspect.Parameter],
    file: str,
) -> None:
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for name in arguments:
        if name not in parameters:
            raise unknown(f"keyword for {target}:", name, parameters, file)


def _dtype(name: object, file: str) -> torch.dtype:
    if name not in _DTYPES:
        raise unknown("dtype", name, _DTYPES, file)
    return _DTYPES[str(name)]
