"""What only a rerun can tell: images are measured and generated again, and compared.

Jobs are those of the frames, and components those that are declared here: a folder chooses no code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.base.errors import SpecError
from harness.experiment.components import MethodSpec, RewardSpec, Spec
from harness.experiment.identity import batch_size_counts, identity_of
from harness.experiment.jobs import GenerateJob, PairsJob, ScoreJob
from harness.experiment.variants import Variant
from harness.results import frames
from harness.results.image_files import decoded
from harness.results.results_folder import Made
from harness.stages import compare_images, generate, score
from harness.verification.findings import Finding, Folder, each, job_of

_IDENTITY = [column.name for column in frames.IDENTITY]
#: Other batches, threads and devices sum in another order.
RELATIVE, ABSOLUTE = 1e-3, 1e-3
#: Levels of 255 by which a pixel of an image may differ that is made again, on the mean of all.
LEVELS = 1.0
#: Of an image's costs, what has to be the same to the digit.
_COSTS = ("nfe", "reward_calls", "backward_passes")
#: Whose similarities may be built, as configs declare them and no folder of components does.
_SIMILARITIES = "harness.similarity."


class Reruns:
    """Draws images of a folder's frames and makes their numbers, or themselves, again.

    Args:
        folder: the folder and what is declared.
        seed: of the draw.
    """

    def __init__(self, folder: Folder, seed: int = 0) -> None:
        self.folder = folder
        self.seed = seed
        #: What was made again, and what could not be told by it.
        self.notes: list[str] = []

    def scores(self, n: int) -> Iterator[Finding]:
        """Differences of ``n`` images of every frame of scores, and prompts of one of pairs."""
        scores, pairs = self.folder.frames("scores"), self.folder.frames("pairs")
        if n:
            done = "measured again"
            yield from each(scores, self.folder, lambda made, _: self._scores(made, n), done)
            yield from each(pairs, self.folder, lambda made, _: self._pairs(made, n), done)

    def images(self, n: int) -> Iterator[Finding]:
        """Differences of ``n`` images of every frame of images."""
        made = self.folder.frames("images") if n else ()
        yield from each(made, self.folder, lambda m, _: self._images(m, n), "generated again")

    def _draw(self, n_of: int, n: int, made: Made) -> list[int]:
        # A frame's draw does not depend on which others there are.
        place = made.path.relative_to(made.results).as_posix().encode()
        rng = np.random.default_rng([self.seed, *place])
        return sorted(rng.choice(n_of, size=min(n, n_of), replace=False).tolist())

    def _scores(self, made: Made, n: int) -> Iterator[Finding]:
        told: ScoreJob = job_of(made)
        registry = self.folder.registry
        benchmark = _declared(told.benchmark, registry.benchmarks, "benchmark")
        rewards = {m: _declared_reward(r, self.folder) for m, r in told.rewards.items()}
        job = replace(told, benchmark=benchmark, rewards=rewards, images=_located(made, told))
        plan = score.check(job)
        chosen = plan.table.iloc[self._draw(len(plan.table), n, made)].reset_index(drop=True)
        anew = score.measure(
            job, replace(plan, table=chosen), score.build_judges(job, plan.prompts)
        )
        stored = frames.read(made.path, frames.SCORES)
        yield from _compared(made, stored, anew, chosen, ["metric"])
        self.notes.append(f"{made.path}: {len(chosen)} images scored again")

    def _pairs(self, made: Made, n: int) -> Iterator[Finding]:
        told: PairsJob = job_of(made)
        for spec in told.comparisons.values():
            # No folder of components declares comparisons: configs do.
            if not spec.target.startswith(_SIMILARITIES) or spec.arguments:
                raise SpecError(f"{spec.target} with arguments is not declared here")
        job = replace(told, images=_located(made, told))
        table = compare_images.check(job)
        prompt = [name for name in _IDENTITY if name != "image_index"]
        numbers = table.groupby(prompt, sort=False, dropna=False).ngroup()
        drawn = self._draw(int(numbers.max()) + 1, n, made)
        chosen = table[numbers.isin(drawn)].reset_index(drop=True)
        anew = compare_images.measure(job, chosen)
        stored = frames.read(made.path, frames.PAIRS)
        yield from _compared(made, stored, anew, chosen, ["other_index", "metric"])
        self.notes.append(f"{made.path}: pairs of {len(drawn)} prompts measured again")

    def _images(self, made: Made, n: int) -> Iterator[Finding]:
        told: GenerateJob = job_of(made)
        registry = self.folder.registry
        job = replace(
            told,
            model=_declared(told.model, registry.models, "model"),
            method=_declared_method(told.method, self.folder),
            reward=_declared_reward(told.reward, self.folder) if told.reward else None,
            benchmark=_declared(told.benchmark, registry.benchmarks, "benchmark"),
            adapter=str(made.locate(told.adapter)) if told.adapter else None,
        )
        items = generate.check(job)
        stored = frames.read(made.path, frames.IMAGES).set_index("path")
        if {item.path for item in items} != set(stored.index):
            yield Finding(str(made.path), "holds other images than its job asks for")
            return
        chosen = [items[place] for place in self._draw(len(items), n, made)]
        others, is_free = 0, not batch_size_counts(job.method)
        for row, pixels in generate.make_again(job, chosen):
            was, path = stored.loc[row["path"]], made.path.parent / row["path"]
            for column in _COSTS:
                if is_free and not np.isclose(was[column], row[column], equal_nan=True):
                    what = f"{column}: {was[column]}, generated again {row[column]}"
                    yield Finding(str(made.path), f"row of {row['path']}, column {what}")
            there = decoded(str(path))
            same_size = there.shape == pixels.shape
            levels = np.abs(there.astype(float) - pixels).mean() if same_size else np.inf
            if levels > LEVELS and is_free:
                said = f"differs by {levels:.3g} levels of 255 from the one that is generated again"
                yield Finding(str(path), said)
            others += int(levels > LEVELS)
        self.notes.append(f"{made.path}: {len(chosen)} images generated again")
        if others and not is_free:
            self.notes.append(
                f"{made.path}: {others} of them differ, and may: images of {job.method.name} "
                "depend on which others they are made with"
            )


def _compared(
    made: Made, stored: pd.DataFrame, anew: pd.DataFrame, chosen: pd.DataFrame, key: list[str]
) -> Iterator[Finding]:
    """Rows of the chosen images whose value is another, that are missing, or too many."""
    names = [*_IDENTITY, *key]
    whose = stored.merge(chosen[_IDENTITY], on=_IDENTITY)
    if "other_index" in key:
        whose = whose[whose["other_index"].isin(chosen["image_index"])]
    both = whose[[*names, "value"]].merge(
        anew[[*names, "value"]], on=names, how="outer", suffixes=("", "_anew")
    )
    was, now = both["value"].to_numpy(), both["value_anew"].to_numpy()
    same = np.isclose(was, now, rtol=RELATIVE, atol=ABSOLUTE)
    for row in both[~same].to_dict("records"):
        who = " ".join(str(row[name]) for name in ("method", "prompt_id", "image_index", *key))
        said = f"column value: {row['value']:.6g}, measured again {row['value_anew']:.6g}"
        yield Finding(str(made.path), f"row of {row['model']} {who}, {said}")


def _located(made: Made, job: ScoreJob | PairsJob) -> tuple[str, ...]:
    return tuple(str(made.locate(path)) for path in job.images)


def _declared(told: Spec, specs: Mapping[str, Spec], kind: str) -> Spec:
    """The component that is declared here under a name, if it is the one that made a frame.

    Raises:
        SpecError: there is none, or it is another.
    """
    if told.name not in specs:
        raise SpecError(f"{kind} {told.name!r} is not declared here")
    return _same(told, specs[told.name], kind)


def _same(told: Spec, declared: Spec, kind: str) -> Spec:
    was, now = identity_of(told), identity_of(declared)
    if was != now:
        names = [name for name in was if was[name] != now.get(name)]
        raise SpecError(
            f"{kind} {told.name!r} is declared otherwise here: {', '.join(names)} "
            f"({json.dumps({name: was[name] for name in names})[:200]} made it)"
        )
    return declared


def _declared_reward(told: RewardSpec, folder: Folder) -> RewardSpec:
    if told.name not in folder.registry.rewards:
        raise SpecError(f"reward {told.name!r} is not declared here")
    return _same(told, folder.registry.reward(told.name), "reward")


def _declared_method(told: MethodSpec, folder: Folder) -> MethodSpec:
    """A method with a frame's arguments and the code that is declared here.

    Raises:
        SpecError: there is none, or an argument names code or a file that is not declared.
    """
    name, methods = Variant.parse(told.name).name, folder.registry.methods
    if name not in methods:
        raise SpecError(f"method {name!r} is not declared here")
    declared = methods[name]
    for key, value in told.arguments.items():
        # Numbers and truth values choose neither.
        if isinstance(value, str | Mapping | list) and value != declared.arguments.get(key):
            raise SpecError(f"method {name!r}: argument {key!r} is not as it is declared here")
    searcher = _declared_method(told.searcher, folder) if told.searcher else None
    return replace(told, target=declared.target, file=declared.file, searcher=searcher)
