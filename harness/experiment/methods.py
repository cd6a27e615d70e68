"""Methods as they are named: the declaration, and a variant's arguments on top."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from harness.base.errors import SpecError
from harness.base.signatures import check_call, signature_of
from harness.experiment.components import MethodSpec, Registry
from harness.experiment.variants import Variant
from hypernoise.identity import LEAST_STEPS
from hypernoise.training.kinds import KINDS

#: Argument of a variant: the optimizer step whose checkpoint it uses.
CHECKPOINT = "checkpoint"


class Parts(NamedTuple):
    """A variant's arguments by what they are for."""

    arguments: dict[str, Any]
    options: dict[str, Any]
    search: dict[str, Any]
    checkpoint: int | None


def declared_method(registry: Registry, text: str, file: str = "") -> MethodSpec:
    """The declaration of a variant's method.

    Raises:
        SpecError: there is none, or the text is malformed.
    """
    name = Variant.parse(text, file).name
    return registry.find(registry.methods, "method", name, file)


def parts(registry: Registry, text: str, file: str = "") -> Parts:
    """A variant's arguments, told apart: of the method itself, of its training, or of the search
    that goes on from its noise, in this order where several have one of such a name.

    Raises:
        SpecError: none of them has an argument of such a name, or one is of a wrong type.
    """
    spec, given = declared_method(registry, text, file), dict(Variant.parse(text).arguments)
    own = _names(spec)
    known = set(KINDS[spec.trains].options.model_fields) if spec.trains else set()
    searched = _names(registry.methods[spec.search]) if spec.search in registry.methods else set()
    checkpoint = given.pop(CHECKPOINT, None) if spec.trains else None
    options = {key: value for key, value in given.items() if key in known - own}
    search = {key: value for key, value in given.items() if key in searched - known - own}
    arguments = {key: given[key] for key in given if key not in {**options, **search}}
    where, valid = f"method {text!r}", known | searched | ({CHECKPOINT} if spec.trains else set())
    what = f"argument of {where}:"
    check_call(spec.target, arguments, file=file, what=what, where=where, valid=valid)
    if search:
        target = registry.methods[spec.search].target
        check_call(target, search, file=file, what=what, where=where)
    return Parts(arguments, options, search, checkpoint)


def search_of(registry: Registry, text: str, file: str = "") -> str:
    """The search that goes on from a method's noise, as a variant; empty if none does."""
    search = declared_method(registry, text, file).search
    return search and str(Variant(search, parts(registry, text, file).search))


def check_sampling(spec: MethodSpec, steps: int, where: str) -> None:
    """Check that a method, or its search, can work with a number of sampling steps.

    Args:
        where: who asks for it, for messages.

    Raises:
        SpecError: it works between steps, and there is one.
    """
    signature = signature_of(spec.target, spec.file)
    if signature and signature.needs_several_steps and steps < LEAST_STEPS:
        raise SpecError(
            f"{where}: {spec.name!r} works between sampling steps, so it needs at least "
            f"{LEAST_STEPS}, and would get {steps}; give the image set steps (steps: [4])"
        )
    if spec.searcher is not None:
        check_sampling(spec.searcher, steps, where)


def _names(spec: MethodSpec) -> set[str]:
    signature = signature_of(spec.target, spec.file)
    return set(signature.parameters) if signature else set()


def method_variant(registry: Registry, text: str, file: str = "") -> MethodSpec:
    """A declared method with a variant's arguments, without any config; the text is its name.

    Raises:
        SpecError: as :func:`parts`.
    """
    spec, own = declared_method(registry, text, file), parts(registry, text, file)
    search = search_of(registry, text, file)
    searcher = method_variant(registry, search, file) if search else None
    arguments = {**spec.arguments, **own.arguments}
    changed = with_checkpoint(own.checkpoint)
    name = str(Variant.parse(text))
    return replace(spec, name=name, arguments=arguments, searcher=searcher, **changed)


def n_scored(spec: MethodSpec) -> int:
    """Images that a search scores for each one that it gives; 1 for what does not search.

    Read off the arguments that searches have: ``n``, and ``keep`` of drafts; ``iterations``;
    ``neighbors`` or ``proposals`` in each of ``rounds``, after a first image.
    """
    given = (spec.searcher or spec).arguments
    if not spec.needs_reward:
        return 1
    for name in ("n", "iterations"):
        if name in given:
            # Drafts are scored, and once more those that are kept.
            return int(given[name]) + int(given.get("keep", 0))
    for name in ("neighbors", "proposals"):
        if name in given:
            return 1 + int(given[name]) * int(given.get("rounds", 1))
    return 1


def with_checkpoint(step: int | None) -> dict[str, Any]:
    """The fields of a method that uses the checkpoint of a step, whatever state it declares."""
    return {} if step is None else {"state": "final", "checkpoint": step}
