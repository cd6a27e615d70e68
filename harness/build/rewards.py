"""Rewards and sums of them: checked without being loaded, and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.base.errors import SpecError, prefix
from harness.base.import_strings import resolve
from harness.build.devices import default_device
from harness.build.targets import call_target, check_size, check_target, takes
from harness.experiment.components import WEIGHT_ARGUMENTS, ModelSpec, RewardSpec
from hypernoise.methods.protocol import Checked
from hypernoise.rewards.protocol import NeedsPackages, Reward
from hypernoise.weights.pinned_files import PinnedFile
from hypernoise.weights.pins import located


def check_reward(spec: RewardSpec) -> None:
    """Check a reward's target and files, and those of its parts, before anything is loaded.

    What has to be downloaded needs its hash, and is downloaded when the reward is built.

    Raises:
        SpecError: a target is no reward or does not take an argument.
        FileNotFoundError, ValueError: a package that it needs is not installed, or as
            :meth:`hypernoise.weights.pinned_files.PinnedFile.check`.
    """
    parts: dict[str, Any] = {"parts": ()} if spec.parts else {}
    check_target(spec.target, {**spec.arguments, **parts}, spec.file, does=("encode", "score"))
    target = resolve(spec.target)
    if isinstance(target, NeedsPackages):
        target.check_installed()
    for given in spec.arguments.values():
        check_nested(given, spec.file)
    for part in spec.parts.values():
        check_reward(part)
    for file in _own_files(spec):
        file.check()


def check_nested(given: Any, file: str) -> None:
    """Build what an argument of a reward declares and let it check itself, if it can.

    Raises: as :func:`harness.build.targets.check_target`, and as its constructor and its check.
    """
    target = given.get("target", "") if isinstance(given, Mapping) else ""
    if target and isinstance(resolve(str(target)), Checked):
        arguments = {name: value for name, value in given.items() if name != "target"}
        check_target(target, arguments, file)
        call_target(target, arguments, default_device(), file).check()


def check_reward_of(spec: RewardSpec, model: ModelSpec) -> None:
    """As :func:`check_reward`, and that it takes the images of a model.

    Raises:
        SpecError: it, or a part of it, takes another size; or as :func:`check_reward`.
    """
    for single in spec.singles():
        what, of = f"reward {single.name!r}", f"model {model.name!r}"
        nested = (given for given in single.arguments.values() if isinstance(given, Mapping))
        named = [str(given["target"]) for given in nested if "target" in given]
        for target in (single.target, *named):
            check_size(target, what, model.size_px, of)
    check_reward(spec)


def check_gradient(spec: RewardSpec, follower: str) -> None:
    """Check that a reward has the gradient that something follows.

    Args:
        follower: what follows it, as messages call it.

    Raises:
        SpecError: it, or a part of it, says that it has none.
    """
    for single in spec.singles():
        if not getattr(resolve(single.target), "differentiable", True):
            raise SpecError(
                f"{follower} follows the gradient of its reward, and reward {single.name!r} has "
                "none: take best_of_n, zero_order or another search without gradients; train "
                "noise_policy, or supervised with distil_teacher=best_of_n; or take another reward"
            )


def build_reward(spec: RewardSpec, device: str) -> Reward:
    """Load a reward, and the parts that it is a sum of. Raises as :func:`check_reward`."""
    arguments = dict(spec.arguments)
    if takes(spec.target, "name"):
        arguments["name"] = spec.name
    if spec.parts:
        # In one order, however the declaration came here: JSON sorts names.
        parts = {name: build_reward(spec.parts[name], device) for name in sorted(spec.parts)}
        arguments["parts"] = [(spec.weights_of[name], part) for name, part in parts.items()]
    reward: Reward = call_target(spec.target, arguments, device, spec.file)
    return reward


def reward_files(spec: RewardSpec) -> list[str]:
    """Local files that a reward reads, for :func:`harness.experiment.identity.job_hash`."""
    files = [file for single in spec.singles() for file in _own_files(single)]
    return [file.place for file in files if file.is_local and located(file.place).exists()]


def _own_files(spec: RewardSpec) -> list[PinnedFile]:
    if spec.parts or spec.is_random:
        return []
    found = []
    for name in WEIGHT_ARGUMENTS:
        if name in spec.arguments:
            try:
                found.append(PinnedFile.parse(str(spec.arguments[name])))
            except ValueError as error:
                where = f"{prefix(spec.file)}{name} of reward {spec.name!r}"
                raise SpecError(f"{where}: {error}") from error
    return found
