"""From any config to one that asks for the same tables with hardly any work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from harness.base.signatures import signature_of
from harness.experiment.components import BenchmarkSpec, MethodSpec, Registry
from harness.experiment.variants import Variant

#: Two prompts of each of GenEval's tasks: a cluster of one has no spread.
PROMPTS = 12
#: Of trainings and audits.
FEW = 4
#: Of what methods do (:data:`hypernoise.identity.WORK`).
WORK = 3
#: Training option -> its largest value; all others stay as they are declared.
TRAINING = {
    "steps": 2,
    "batch_size": 2,
    "accumulation": 2,
    "warmup_steps": 1,
    "checkpoint_every": 1,
    "validate_every": 1,
}
_TIMING = {"repeats": 3, "batch_sizes": 2}
_CHECKPOINT = re.compile(r"checkpoint=(\d+)")
_SUBSET = "harness.benchmarks.prompts:subset"
_LISTS = ("n", "per_task")


def small(
    config: Mapping[str, Any],
    registry: Registry,
    tables: Sequence[str] = (),
    models: Sequence[str] = (),
) -> dict[str, Any]:
    """The config of a rehearsal.

    Args:
        config: whole and valid.
        tables, models: only these of the config's, if any are named.
    """
    made = deepcopy(dict(config))
    # All components of a rehearsal are declared anew, in its own folder.
    made.pop("components", None)
    made |= {"rehearsal": True, "validation_images": 1, "batch_size": min(made["batch_size"], 4)}
    made["tables"] = list(tables) or made["tables"]
    made["models"] = list(models) or made["models"]
    # Methods may name a checkpoint, which has to be there.
    named = (int(step) for step in _CHECKPOINT.findall(str(made.get("image_sets"))))
    most = {**TRAINING, "steps": max(TRAINING["steps"], *named, 0)}
    for layer in made["training"].values():
        layer |= _at_most(most, layer)
    for layer in made["prompts"].values():
        layer |= {name: few_prompts(called, FEW) for name, called in layer.items() if called}
    for key, layer in made["arguments"].items():
        words = (Variant.parse(word).name for word in key.split())
        method = next(registry.methods[name] for name in words if name in registry.methods)
        layer |= {name: min(layer[name], WORK) for name in _work(method) & layer.keys()}
    made["timing"] = _short(made["timing"])
    for chosen in made.get("image_sets", {}).values():
        if chosen.get("timing"):
            chosen["timing"] = _short(chosen["timing"])
    made["audit"] |= {"prompts": few_prompts(made["audit"]["prompts"], 2), "n_images": 1}
    made["audit"] |= _at_most({"checkpoints": 2}, made["audit"])
    if tuning := made.get("tuning"):
        tuning |= {"trials": min(tuning["trials"], 2), "seeds": tuning["seeds"][:1]}
    made["processes"] = min(made["processes"], 2)
    return made


def few_prompts(called: Mapping[str, Any], n: int) -> dict[str, Any]:
    """A declared list of prompts, cut to the first of each task in turn."""
    target, arguments = called["target"], dict(called.get("arguments", {}))
    signature = signature_of(target)
    if "of" in arguments:
        kept = {name: value for name, value in arguments.items() if name not in _LISTS}
        return {"target": _SUBSET, "arguments": {**kept, "n": n}}
    if signature and "n" in signature.parameters:
        return {"target": target, "arguments": {**arguments, "n": n}}
    return {"target": _SUBSET, "arguments": {"of": target, **arguments, "n": n}}


def small_benchmark(spec: BenchmarkSpec, n_images: int = 2) -> BenchmarkSpec:
    """A benchmark of a few prompts, where its declaration says which it has, and images."""
    arguments, signature = dict(spec.arguments), signature_of(spec.target, spec.file)
    if isinstance(given := arguments.get("prompts"), Mapping):
        inner = {name: value for name, value in given.items() if name != "target"}
        called = few_prompts({"target": given["target"], "arguments": inner}, PROMPTS)
        arguments["prompts"] = {"target": called["target"], **called["arguments"]}
    elif signature and "n" in signature.parameters:
        arguments["n"] = PROMPTS
    return replace(spec, arguments=arguments, n_images=min(spec.n_images, n_images))


def small_method(spec: MethodSpec) -> MethodSpec:
    """A method that does little."""
    most = {name: min(spec.arguments.get(name, WORK), WORK) for name in _work(spec)}
    return replace(spec, arguments={**spec.arguments, **most})


def _work(spec: MethodSpec) -> set[str]:
    signature = signature_of(spec.target, spec.file)
    return set(signature.marked({"WORK"})) if signature else set()


def _at_most(most: Mapping[str, int], given: Mapping[str, Any]) -> dict[str, int]:
    return {name: min(given[name], limit) for name, limit in most.items() if name in given}


def _short(timing: Mapping[str, Any]) -> dict[str, Any]:
    """Few timings of small calls, as networks are declared: to compile them takes minutes."""
    short = {**timing, "repeats": _TIMING["repeats"]}
    if sizes := timing.get("batch_sizes"):
        short["batch_sizes"] = sorted({min(size, _TIMING["batch_sizes"]) for size in sizes})
    if timing.get("modes"):
        short["modes"] = ["eager"]
    return short
