"""Make the weights that ship with the embedded world."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

import torch

from harness.base.errors import SpecError, unknown
from harness.base.locks import acquired
from harness.benchmarks.geneval import decide
from harness.build.devices import default_device
from harness.build.generators import build_generator, check_generator
from harness.experiment.jobs import PretrainJob
from harness.experiment.validation import checked
from hypernoise.durable_files import put
from hypernoise.shapeworld.judging import JUDGES, JudgeRecipe, train_judge
from hypernoise.shapeworld.matching import MATCHERS, MatcherRecipe, train_matcher
from hypernoise.shapeworld.pretraining import pretrain
from hypernoise.shapeworld.recipes import RECIPES, Recipe

R = TypeVar("R", Recipe, MatcherRecipe, JudgeRecipe)


def run(job: PretrainJob) -> None:
    """Train a tiny generator, a matcher or a judge; ``out`` appears when it is done.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first).
        Busy: another process is making the same weights.
    """
    torch.set_num_threads(job.threads)
    recipe = check(job)
    out = Path(job.out)
    partial = out.with_name(f"{out.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    lock = out.with_name(f".{out.name}.lock")
    with acquired(lock):
        _remove(partial)
        if isinstance(recipe, Recipe):
            pretrain(recipe, partial)
        elif isinstance(recipe, JudgeRecipe):
            train_judge(recipe, partial)
        else:
            device = default_device()
            generators = [build_generator(model, device) for model in job.models]
            train_matcher(recipe, generators, lambda *given: decide(*given).correct, partial)
        _remove(out)
        put(partial, out)
        lock.unlink()


def check(job: PretrainJob) -> Recipe | MatcherRecipe | JudgeRecipe:
    """Check a job without loading any network; returns its recipe.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    recipe = check_ahead(job)
    for model in job.models:
        check_generator(model)
    return recipe


def check_ahead(job: PretrainJob) -> Recipe | MatcherRecipe | JudgeRecipe:
    """As :func:`check`, for a matcher whose generators may be yet to be pretrained."""
    if job.kind != "matcher" and job.models:
        raise SpecError("only a matcher learns from the images of other models")
    if job.kind == "generator":
        return _changed(RECIPES, job)
    if job.kind == "judge":
        return _changed(JUDGES, job)
    if not job.models:
        raise SpecError("a matcher needs at least one model whose images it learns from")
    return _changed(MATCHERS, job)


def _changed(recipes: Mapping[str, R], job: PretrainJob) -> R:
    if job.recipe not in recipes:
        raise unknown(f"recipe for a {job.kind}", job.recipe, recipes)
    recipe = recipes[job.recipe]
    known = [entry.name for entry in fields(recipe)]
    for name in job.changes:
        if name not in known:
            raise unknown(f"field of recipe {job.recipe!r}", name, known)
    return checked(asdict(recipe) | dict(job.changes), type(recipe), f"recipe {job.recipe!r}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
