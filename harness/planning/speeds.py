"""Seconds of an image and of a training image: from a snapshot of a GPU kind, else the paper's.

A snapshot is a folder that ``make snapshot`` wrote. What neither has is derived where the
arithmetic is plain (twice the steps, twice the time), and says so in its note; the rest is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd

from harness.analysis import published
from harness.experiment.components import MethodSpec
from harness.experiment.methods import n_scored
from harness.experiment.plan import Experiment
from harness.experiment.variants import Variant
from hypernoise.training.kinds import is_noise_network
from hypernoise.training.options import TrainingOptions

SNAPSHOT, PAPER, UNKNOWN = "snapshot", "paper", "unknown"
#: Searches in the paper's table 1.
_PRINTED_CANDIDATES = 50
_RENO = "hypernoise.methods.reno:Reno"
_RANDOM = "_random"


class Speed(NamedTuple):
    """Seconds of one image, where they are from, and how they were derived."""

    seconds: float | None = None
    basis: str = UNKNOWN
    note: str = ""

    def times(self, factor: float, note: str) -> Speed:
        """So many times as long, for a reason; what takes as long needs none."""
        if self.seconds is None or factor == 1:
            return self
        return Speed(self.seconds * factor, self.basis, _joined(self.note, note))

    def plus(self, other: Speed, note: str = "") -> Speed:
        """Both together; unknown if one is."""
        if self.seconds is None or other.seconds is None:
            return Speed()
        return Speed(self.seconds + other.seconds, self.basis, _joined(self.note, other.note, note))


@dataclass(frozen=True)
class Source:
    """What was measured: (model, method, steps) -> seconds per image; of training images,
    (model, kind) -> seconds per image; and what to say of both where a reward is in them."""

    basis: str
    images: Mapping[tuple[str, str, int], float]
    trained: Mapping[tuple[str, str], float]
    rewarded: str = ""

    def at(self, model: str, method: str, steps: int) -> Speed:
        """An image's, of the same number of steps, else at most: of fewer steps in proportion,
        though what does not grow with them is multiplied too; of more steps as they are."""
        if found := self.images.get((model, method, steps)):
            return Speed(found, self.basis)
        known = {n: s for (m, name, n), s in self.images.items() if (m, name) == (model, method)}
        if not known:
            return Speed()
        nearest = min(known, key=lambda n: abs(n - steps))
        if nearest > steps:
            return Speed(known[nearest], self.basis, f"as {nearest} steps, at most")
        said = f"{steps}/{nearest} of {nearest} steps, at most"
        return Speed(known[nearest], self.basis).times(steps / nearest, said)


def of_paper() -> Source:
    """The paper's table 1, on its own GPU (an H100)."""
    rows = published.results().query("table == 'table1' and metric == 'time_s'")
    rows = rows.dropna(subset="steps")
    models = {printed: ours for ours, printed in published.MODELS.items()}
    methods = {printed: ours for ours, printed in published.METHODS.items()}
    found: dict[tuple[str, str, int], float] = {}
    for row in rows.to_dict("records"):
        model, method = (str(row[name]) for name in ("model", "method"))
        known = models.get(model, model), methods.get(method, method), int(row["steps"])
        found[known] = float(row["value"])
    return Source(PAPER, found, {})


def of_snapshot(folder: Path, batch_size: int) -> Source:
    """A snapshot's eager times, at the largest of its batches that is not above a size.

    Raises:
        FileNotFoundError: the folder has no ``latency.csv``.
    """
    file = folder / "latency.csv"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is no snapshot of a GPU: {file.name} is missing")
    rows = pd.read_csv(file).query("mode == 'eager'")
    rows = rows.assign(model=rows["model"].str.removesuffix(_RANDOM))
    images: dict[tuple[str, str, int], float] = {}
    for key, own in rows.groupby(["model", "method", "steps"]):
        model, method, steps = cast(tuple[str, str, int], key)
        fits = own[own["batch_size"] <= batch_size]
        chosen = fits.nlargest(1, "batch_size") if len(fits) else own.nsmallest(1, "batch_size")
        images[model, method, int(steps)] = float(chosen["generation_ms"].iloc[0]) / 1000
    trained: dict[tuple[str, str], float] = {}
    steps_file = folder / "training_steps.csv"
    if steps_file.is_file() and steps_file.stat().st_size > 2:
        taken = pd.read_csv(steps_file).query("stage == 'step'")
        for key, own in taken.groupby(["model", "method"]):
            model, method = cast(tuple[str, str], key)
            per_image = float((own["ms"] / own["batch_size"]).median()) / 1000
            trained[model.removesuffix(_RANDOM), method] = per_image
    record = folder / "provenance.json"
    asked = (
        json.loads(record.read_text(encoding="utf-8"))["spec"]["jobs"] if record.is_file() else []
    )
    names = dict.fromkeys(job["reward"]["name"] for job in asked if job.get("reward"))
    said = f"scored by {', '.join(names)}" if names else "scored by an unknown reward"
    return Source(SNAPSHOT, images, trained, said)


@dataclass(frozen=True)
class Speeds:
    """Seconds by the first source that knows them."""

    experiment: Experiment
    sources: tuple[Source, ...]

    @cached_property
    def _known(self) -> dict[tuple[Any, ...], Speed]:
        return {}

    def image(self, model: str, method: str, reward: str, steps: int) -> Speed:
        """Seconds of an image that a method makes."""
        key = (model, method, reward, steps)
        if key not in self._known:
            spec = self.experiment.method(method, model, "" if reward == "none" else reward)
            found = (_image(source, model, method, spec, steps) for source in self.sources)
            self._known[key] = next((s for s in found if s.seconds is not None), Speed())
        return self._known[key]

    def training_image(self, model: str, kind: str, options: TrainingOptions) -> Speed:
        """Seconds of an image that is trained on: drawn, scored, and its gradients taken."""
        sampling_steps, n = options.sampling_steps, options.scored_images
        search = "reno" if options.follows_gradient else "best_of_n"
        for source in self.sources:
            if own := source.trained.get((model, kind)):
                said = f"x {sampling_steps} steps"
                note = _joined("batch 1", source.rewarded)
                return Speed(own, source.basis, note).times(sampling_steps, said)
            scored = _per_scored(source, model, search, sampling_steps)
            base = source.at(model, "base", sampling_steps)
            moved = source.at(model, "hypernoise", sampling_steps)
            if scored.seconds is None:
                continue
            scored = scored.times(n, f"{n:g} scored images")
            what = "an iteration of ReNO" if search == "reno" else "a candidate of Best-of-N"
            if is_noise_network(kind) and None not in (base.seconds, moved.seconds):
                assert base.seconds is not None and moved.seconds is not None
                # Where the generator is in no gradient, the network's own is taken for two passes.
                passes = 1 if kind == "hypernoise" else 3
                added = max(0.0, moved.seconds - base.seconds) * passes
                return scored.plus(Speed(added, source.basis), f"{what} and a noise network")
            return scored.plus(Speed(0.0), what)
        return Speed()


def _image(source: Source, model: str, method: str, spec: MethodSpec, steps: int) -> Speed:
    name = Variant.parse(method).name
    exact = source.at(model, str(Variant.parse(method)), steps)
    if exact.seconds is not None:
        return exact
    if spec.needs_reward:
        n, climbs = n_scored(spec), (spec.searcher or spec).target == _RENO
        own = _per_scored(source, model, "reno" if climbs else "best_of_n", steps)
        found = own.times(n, f"{n} scored images")
        if found.seconds is None and not climbs:
            found = source.at(model, "base", steps).times(n, f"{n} images, without their scores")
        if spec.trains and found.seconds is not None:
            return found.plus(source.at(model, "hypernoise", steps), "and a noise network")
        return found
    if is_noise_network(spec.trains):
        return source.at(model, "hypernoise", steps)
    found = source.at(model, "base", steps)
    return (
        found if name == "base" or found.seconds is None else found.plus(Speed(0.0), "as the base")
    )


def _per_scored(source: Source, model: str, search: str, steps: int) -> Speed:
    """Seconds of a candidate of Best-of-N, or of an iteration of ReNO."""
    argument = {"reno": "iterations", "best_of_n": "n"}[search]
    few, more = (source.at(model, f"{search}:{argument}={n}", steps) for n in (1, 3))
    if few.seconds is not None and more.seconds is not None:
        note = _joined(more.note, source.rewarded)
        return Speed((more.seconds - few.seconds) / 2, source.basis, note)
    whole = source.at(model, search, steps)
    if whole.seconds is None:
        return Speed()
    note = _joined(whole.note, source.rewarded)
    return Speed(whole.seconds / _PRINTED_CANDIDATES, whole.basis, note)


def _joined(*notes: str) -> str:
    return ", ".join(dict.fromkeys(note for note in notes if note))
