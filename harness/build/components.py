"""From declarations to live components: prompts, generators, rewards, methods.

What only generators and their networks need is imported where they are built: diffusers, peft and
transformers take seconds, and scoring jobs do without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import psutil
import torch

from harness.base.errors import prefix
from harness.base.signatures import check_call, signature_of
from harness.experiment.components import (
    WEIGHT_ARGUMENTS,
    ComparisonSpec,
    MethodSpec,
    ModelSpec,
    PromptsSpec,
    RewardSpec,
    SpecError,
    resolve,
    unknown,
)
from harness.results.training_folder import checkpoints_of
from harness.similarity.protocol import ENDINGS, Comparison
from hypernoise.methods.protocol import Method
from hypernoise.models.protocol import Generator
from hypernoise.rewards.protocol import Reward
from hypernoise.weights.folders import check_file, check_pipeline
from hypernoise.weights.pinned_files import PinnedFile

if TYPE_CHECKING:
    from hypernoise.networks.protocol import Trainable

_DEVICES = ("cpu", "cuda")
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


def check_device(device: str) -> None:
    """Check a device that a user names; empty is :func:`default_device`.

    Raises:
        ValueError: it is unknown, or there is no GPU.
    """
    if not device:
        return
    # Events and synchronisation are those of the current GPU, which is the first that is visible.
    hint = "; which GPU is CUDA_VISIBLE_DEVICES' to say" if device.startswith("cuda:") else ""
    if device not in _DEVICES:
        raise ValueError(f"unknown device {device!r}; there are {', '.join(_DEVICES)}{hint}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and torch finds no GPU")


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
    """Find weights that cannot be had or used, before anything is loaded.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a file is truncated or pickled, the hub does not give the revision, the
            architecture is unknown, or the device has too little memory for the weights.
    """
    try:
        if model.architecture:
            check_memory(model, default_device())
        if not model.is_random:
            check_pipeline(model.weights, model.revision, str(model.arguments.get("variant", "")))
            _check_further_sources(model)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"weights of model {model.name!r}: {error}") from error
    check_reward_weights(rewards)


def _check_further_sources(model: ModelSpec) -> None:
    # A family that is put together from several repositories knows which.
    own_check = getattr(resolve(model.target), "check_sources", None)
    if own_check is not None:
        own_check(**model.arguments)


def check_memory(model: ModelSpec, device: str) -> None:
    """Check that a device has room for the weights of a model whose architecture is known.

    Raises:
        ValueError: it has not, or the architecture is unknown.
    """
    from hypernoise.models.random_weights import n_parameters

    needed = sum(n_parameters(model.architecture).values())
    dtype = dtype_of(model.arguments.get("dtype", "float32"), model.file)
    needed_gib = needed * dtype.itemsize / 2**30
    free_gib = free_memory_bytes(device) / 2**30
    if needed_gib > free_gib:
        raise ValueError(
            f"{needed / 1e9:.1f} billion parameters in {dtype} take {needed_gib:.1f} GiB, "
            f"and {device} has {free_gib:.1f} GiB free: stop what else uses it, take a larger "
            "device, or a smaller model"
        )


def free_memory_bytes(device: str) -> int:
    """Memory that is free on a device: the GPU's, or the machine's."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def check_reward_weights(rewards: Iterable[RewardSpec]) -> None:
    """As :func:`check_weights`, for the files of rewards and of their parts.

    What has to be downloaded needs its hash, and is downloaded when the reward is built.
    """
    for reward in rewards:
        for file in _pinned_files(reward):
            file.check()


def weight_paths(model: ModelSpec, rewards: Iterable[RewardSpec] = ()) -> list[str]:
    """Local files and folders that the components read, for
    :func:`harness.experiment.jobs.job_hash`.
    """
    files = [file for reward in rewards for file in _pinned_files(reward) if file.is_local]
    own = [model.weights] if model.is_local else []
    return [p for p in (*own, *(file.place for file in files)) if Path(p).exists()]


def _pinned_files(reward: RewardSpec) -> list[PinnedFile]:
    singles = [single for single in reward.singles() if not single.is_random]
    return [_pinned(s, n) for s in singles for n in WEIGHT_ARGUMENTS if n in s.arguments]


def _pinned(reward: RewardSpec, argument: str) -> PinnedFile:
    try:
        return PinnedFile.parse(str(reward.arguments[argument]))
    except ValueError as error:
        where = f"{prefix(reward.file)}{argument} of reward {reward.name!r}"
        raise SpecError(f"{where}: {error}") from error


def prompt_texts(prompts: Iterable[Prompt]) -> list[tuple[str, str]]:
    """(prompt_id, text) of each prompt."""
    return [(prompt.prompt_id, prompt.text) for prompt in prompts]


def build_generator(spec: ModelSpec, device: str) -> Generator:
    """Load a generator, frozen.

    Raises:
        SpecError: the target does not take an argument, or a dtype is unknown.
        FileNotFoundError, ValueError: as in :func:`check_weights`.
    """
    from diffusers.utils import logging

    from harness.build.encodings import encoded_once

    logging.disable_progress_bar()
    hush_transformers()
    arguments = {"weights": spec.weights, "size_px": spec.size_px, **spec.arguments}
    if spec.revision:
        arguments["revision"] = spec.revision
    if spec.is_random:
        arguments["architecture"] = spec.architecture
    generator: Generator = _build(spec.target, arguments, device, spec.file)
    return encoded_once(generator, spec, device)


def build_reward(spec: RewardSpec, device: str) -> Reward:
    """Load a reward, and the parts that it is a sum of. Raises as :func:`build_generator`."""
    arguments = dict(spec.arguments)
    if _takes(spec.target, "name"):
        arguments["name"] = spec.name
    if spec.parts:
        # In one order, however the declaration came here: JSON sorts names.
        parts = {name: build_reward(spec.parts[name], device) for name in sorted(spec.parts)}
        arguments["parts"] = [(spec.weights_of[name], part) for name, part in parts.items()]
    reward: Reward = _build(spec.target, arguments, device, spec.file)
    return reward


def build_comparison(spec: ComparisonSpec, device: str) -> Comparison:
    """Load a comparison of images. Raises as :func:`build_generator`."""
    comparison: Comparison = _build(spec.target, dict(spec.arguments), device, "")
    return comparison


def check_comparison(metric: str, spec: ComparisonSpec) -> None:
    """Check a comparison's name, target and files, without loading it.

    Raises:
        SpecError: the metric's name does not say what a higher value means, or there is no such
            target or argument.
        ValueError, FileNotFoundError: as :meth:`hypernoise.weights.pinned_files.PinnedFile.check`.
    """
    if not metric.endswith(tuple(ENDINGS)):
        raise SpecError(f"metric {metric!r} of pairs must end in {' or '.join(ENDINGS)}")
    check_call(spec.target, spec.arguments)
    for name in WEIGHT_ARGUMENTS:
        if name in spec.arguments:
            PinnedFile.parse(str(spec.arguments[name])).check()


def build_method(spec: MethodSpec, generator: Generator, adapter: str | None) -> Method:
    """A method, with its trained network attached to the generator's backbone if it has one.

    Raises:
        SpecError: it needs an adapter and gets none, or the other way round.
        FileNotFoundError: the adapter's folder or a file in it is missing.
        ValueError: an adapter file is truncated.
    """
    check_method(spec, adapter)
    return _assembled(spec, generator, _trained(spec, generator, Path(adapter or "")))


def _trained(spec: MethodSpec, generator: Generator, training: Path) -> Trainable | None:
    if spec.trains is None:
        return None
    from hypernoise.networks import kinds

    return kinds.load(spec.trains, generator, _adapter_folder(spec, training))


class Untrained(NamedTuple):
    """A method, and the parameters of its untrained network."""

    method: Method
    n_parameters: int


def build_untrained_method(spec: MethodSpec, generator: Generator, rank: int) -> Untrained:
    """A method whose network, if it has one, is not trained: it costs what a trained one costs."""
    check_keywords(spec)
    if spec.trains is None:
        return Untrained(_assembled(spec, generator, None), 0)
    from hypernoise.networks import kinds
    from hypernoise.training.loop import TrainingOptions

    fresh = kinds.build(spec.trains, generator, TrainingOptions(steps=1, rank=rank, alpha=rank))
    # A method may use its network up.
    n_parameters = fresh.n_parameters
    return Untrained(_assembled(spec, generator, fresh), n_parameters)


def _assembled(spec: MethodSpec, generator: Generator, trained: Trainable | None) -> Method:
    arguments = dict(spec.arguments)
    if spec.searcher is not None:
        arguments["search"] = build_method(spec.searcher, generator, None)
    factory = resolve(spec.target)
    method: Method = factory(**arguments) if trained is None else factory(trained, **arguments)
    return method


def check_method(spec: MethodSpec, adapter: str | None) -> None:
    """Check a method's arguments and its adapter, without a generator.

    Raises: as :func:`build_method`, and what the target itself says about its arguments.
    """
    check_adapter(spec, adapter)
    check_keywords(spec)


def check_keywords(spec: MethodSpec) -> None:
    """Check a method's arguments and those of its search, without a generator.

    Raises:
        SpecError: the target does not take one of them, or refuses its value.
        FileNotFoundError: a file that one of them names is missing.
    """
    where = f"method {spec.name!r}, with the config's arguments"
    check_call(spec.target, spec.arguments, file=spec.file, where=where)
    if spec.searcher is not None:
        check_method(spec.searcher, None)
    elif spec.trains is None:
        try:
            resolve(spec.target)(**spec.arguments)
        except (TypeError, ValueError) as error:
            raise SpecError(f"{prefix(spec.file)}{where}: {error}") from error


def words_prompts(spec: MethodSpec) -> bool:
    """Whether a method, or its search, encodes prompts of its own wording (:class:`Method`)."""
    searching = spec.searcher or spec
    if searching.trains is not None:
        return False
    method = resolve(searching.target)(**searching.arguments)
    return bool(getattr(method, "words_prompts", False))


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
    from hypernoise.networks.adapter import CONFIG_FILE, WEIGHTS_FILE

    folder = _adapter_folder(spec, folder)
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"no trained network in {folder}: {CONFIG_FILE} is missing")
    check_file(folder / WEIGHTS_FILE)


def _adapter_folder(spec: MethodSpec, training: Path) -> Path:
    """The training's folder, or of its checkpoints the one that the method uses."""
    if spec.checkpoint is None:
        return training
    found = checkpoints_of(training)
    if spec.checkpoint not in found:
        steps = ", ".join(map(str, found)) or "none"
        raise SpecError(
            f"method {spec.name!r} uses the checkpoint of step {spec.checkpoint}, which {training} "
            f"does not have; there: {steps}"
        )
    return found[spec.checkpoint]


def check_reward(spec: MethodSpec, reward: RewardSpec | None) -> None:
    """Check that a method has a reward if, and only if, it searches or was trained on one."""
    uses_reward = spec.needs_reward or spec.trains is not None
    if uses_reward and reward is None:
        raise SpecError(f"method {spec.name!r} needs a reward")
    if not uses_reward and reward is not None:
        raise SpecError(f"method {spec.name!r} uses no reward, but got {reward.name!r}")


def hush_transformers() -> None:
    """No bars while transformers loads weights: they would bury the bar that counts images."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def whole_network(kind: Any, weights: str, unused: str = "", **options: Any) -> Any:
    """A network of transformers with every weight read from a folder or the hub.

    Args:
        kind: the class, which has ``from_pretrained``.
        weights: folder or hub name.
        unused: pattern of names of weights that its forward pass leaves alone.
        options: of ``from_pretrained``.

    Raises:
        ValueError: a weight is missing; transformers would draw it at random, and warn.
    """
    hush_transformers()
    network, loaded = kind.from_pretrained(weights, output_loading_info=True, **options)
    missing = sorted(loaded["missing_keys"])
    lacking = [name for name in missing if not (unused and re.search(unused, name))]
    if lacking:
        raise ValueError(
            f"{weights} lacks {len(lacking)} weights of {kind.__name__}, the first is {lacking[0]}"
        )
    return network


def _takes(target: str, name: str) -> bool:
    signature = signature_of(target)
    return signature is not None and name in signature.parameters


def _build(target: str, arguments: dict[str, Any], device: str, file: str) -> Any:
    if _takes(target, "device"):
        arguments.setdefault("device", device)
    check_call(target, arguments, file=file)
    if "dtype" in arguments:
        arguments["dtype"] = dtype_of(arguments["dtype"], file)
    return resolve(target)(**arguments)


def dtype_of(name: object, file: str) -> torch.dtype:
    """The dtype of a name that declarations use; SpecError for an unknown one."""
    if name not in _DTYPES:
        raise unknown("dtype", name, _DTYPES, file)
    return _DTYPES[str(name)]
