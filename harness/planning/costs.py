"""What every job of an experiment takes, and what all of them download and keep on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from harness.benchmarks.dpg import NAME as DPG_FILE
from harness.benchmarks.dpg import QUESTIONS
from harness.build.data_files import places
from harness.experiment.components import PromptsSpec
from harness.experiment.methods import n_scored
from harness.experiment.pins import downloads, named_places
from harness.experiment.plan import Experiment
from harness.experiment.publishers import known
from harness.planning import sizes
from harness.planning.job_graph import Job, JobGraph
from harness.planning.prompt_counts import Counted, counted
from harness.planning.schedule import Task
from harness.planning.speeds import Speed, Speeds
from hypernoise.training.kinds import KINDS
from hypernoise.weights.pins import HASH_MARK, is_remote

#: Of a prompt list that nobody publishes: its size in words and bytes, licence, access.
_TO_BE_MADE = ("unknown", None, "", "made by `python -m harness pick-a-pic`")
#: A row of a search in a frame of trajectories: the largest of the embedded world's own frames.
_TRAJECTORY_ROW_BYTES = 15


class Work(NamedTuple):
    """What one job does.

    Attributes:
        speed: seconds of the whole job, where they are from, and how they were derived.
        images: that it makes, scores or compares; None where the prompts cannot be counted.
        steps: of the optimizer.
        gpus: that it takes at once.
        parts: pieces that it could be cut into: its prompts.
    """

    speed: Speed = Speed(0.0, "")
    images: int | None = 0
    steps: int = 0
    gpus: int = 0
    parts: int = 1


class Disk(NamedTuple):
    """What a kind of file takes.

    Attributes:
        size_bytes: of those that are known.
        unknown: how many are not.
    """

    size_bytes: int = 0
    unknown: int = 0
    note: str = ""


class Fetched(NamedTuple):
    """A download: where it is from, what needs it, and what is known of it."""

    place: str
    users: tuple[str, ...]
    size: str
    size_bytes: int | None
    licence: str
    access: str
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Costs:
    """The costs of an experiment's jobs, by the speeds of a GPU kind."""

    graph: JobGraph
    speeds: Speeds
    _work: dict[Job, Work] = field(default_factory=dict)

    @property
    def experiment(self) -> Experiment:
        return self.graph.experiment

    def work(self, job: Job) -> Work:
        """What a job takes."""
        if job not in self._work:
            # The rules of a GPU's jobs; others take seconds of a processor.
            made: dict[str, Callable[[Job], Work]] = {
                "train": self._train,
                "generate": self._generate,
                "score": self._measured,
                "pairs": self._measured,
                "fidelity_of_images": self._measured,
                "profile": self._profile,
                "audit": lambda _: Work(Speed(), gpus=1),
            }
            self._work[job] = made[job.rule](job) if job.rule in made else Work()
        return self._work[job]

    @cached_property
    def tasks(self) -> dict[Job, Task[Job]]:
        """All jobs, for :func:`harness.planning.schedule.makespan`; unknown times are left out."""
        found = {}
        for job, needs in self.graph.needs.items():
            work = self.work(job)
            found[job] = Task(work.speed.seconds or 0.0, work.gpus, work.parts, needs)
        return found

    def n_prompts(self, benchmark: str) -> int | None:
        """How many prompts a benchmark has, as far as they can be counted."""
        return counted(self.experiment.registry.benchmarks[benchmark].prompts).n

    def _train(self, job: Job) -> Work:
        experiment = self.experiment
        kind = experiment.declared(job.what).trains or ""
        options = KINDS[kind].checked(experiment.options(job.model, job.reward, job.what))
        images = options.steps * options.batch_size * options.accumulation
        sampled = options.sampling_steps
        trained = self.speeds.training_image(job.model, kind, options).times(images, "")
        validation = counted(experiment.prompts(job.model, job.reward, job.what)["validation"]).n
        watched = (validation or 0) * experiment.config.validation_images
        watched *= options.steps // options.validate_every + 1
        drawn = self.speeds.image(job.model, job.what, job.reward, sampled).times(watched, "")
        speed = trained.plus(drawn) if drawn.seconds is not None else trained
        gpus = max(1, experiment.config.processes)
        return Work(speed._replace(seconds=speed.seconds and speed.seconds / gpus), images,
                    options.steps, gpus)  # fmt: skip

    def _generate(self, job: Job) -> Work:
        n, images = self._of_benchmark(job.benchmark)
        one = self.speeds.image(job.model, job.what, job.reward, job.steps)
        speed = Speed() if images is None else one.times(images, "")
        return Work(speed, images, 0, 1, n or 1)

    def _measured(self, job: Job) -> Work:
        runs = self.experiment.runs(job.what, job.model)
        n, images = self._of_benchmark(runs[0].benchmark)
        whole = None if images is None else images * len(runs)
        return Work(Speed(), whole, 0, 1, n or 1)

    def _profile(self, job: Job) -> Work:
        experiment, timing = self.experiment, self.experiment.timing(job.what)
        seconds = Speed(0.0, "")
        runs = {experiment.shown_as(r.method): r for r in experiment.runs(job.what, job.model)}
        for run in runs.values():
            one = self.speeds.image(run.model, run.method, run.reward, run.steps)
            # A slow method is called less often.
            is_slow = n_scored(experiment.method(run.method)) > 1
            calls = min(timing.repeats, 6) if is_slow else timing.repeats
            modes = len(timing.modes or (1,))
            seconds = (one.times(calls * modes * sum(timing.batch_sizes), "")).plus(seconds)
        return Work(seconds, 0, 0, 1)

    def _of_benchmark(self, benchmark: str) -> tuple[int | None, int | None]:
        n = self.n_prompts(benchmark)
        per_prompt = self.experiment.registry.benchmarks[benchmark].n_images
        return n, None if n is None else n * per_prompt

    def disk(self) -> dict[str, Disk]:
        """Kind of file -> what all jobs leave of it."""
        found = {"images": Disk(note="at most: PNGs as large as their pixels")}
        found |= {"encodings": Disk(note="a file for each prompt of a benchmark or validation")}
        found |= {"checkpoints": Disk(note="adapters in float32, from the paper's parameters")}
        found |= {"trajectories": Disk(note="a row for each image that a search scores")}

        def add(kind: str, size: float | None) -> None:
            old = found[kind]
            lacks = old.unknown + (size is None)
            found[kind] = old._replace(size_bytes=old.size_bytes + round(size or 0), unknown=lacks)

        encoded: dict[str, dict[str, int | None]] = {}
        for job in self.graph.needs:
            work, models = self.work(job), self.experiment.registry.models
            if job.rule == "generate":
                pixels = sizes.image_bytes(models[job.model].size_px)
                add("images", None if work.images is None else work.images * pixels)
                spec = self.experiment.registry.benchmarks[job.benchmark].prompts
                encoded.setdefault(job.model, {})[str(spec)] = self.n_prompts(job.benchmark)
                method = self.experiment.method(job.what, job.model)
                if method.needs_reward and work.images is not None:
                    add("trajectories", work.images * n_scored(method) * _TRAJECTORY_ROW_BYTES)
            elif job.rule == "train":
                add("checkpoints", self._checkpoint_bytes(job))
                # Those that are trained on are encoded with each batch (harness.build.encodings).
                spec = self.experiment.prompts(job.model, job.reward, job.what)["validation"]
                encoded.setdefault(job.model, {})[str(spec)] = counted(spec).n
        for model, lists in encoded.items():
            each = sizes.encoding_bytes(self.experiment.registry.models[model])
            for n in lists.values():
                add("encodings", None if None in (n, each) else (n or 0) * (each or 0))
        return found

    def _checkpoint_bytes(self, job: Job) -> int | None:
        experiment = self.experiment
        kind = experiment.declared(job.what).trains or ""
        options = KINDS[kind].checked(experiment.options(job.model, job.reward, job.what))
        each = sizes.adapter_bytes(job.model, getattr(options, "rank", None))
        kept = -(-options.steps // options.checkpoint_every) + 1
        return None if each is None else each * kept

    def downloads(self) -> list[Fetched]:
        """Everything that the jobs read from elsewhere, each place once, the largest first."""
        users: dict[str, dict[str, None]] = {}
        lacks: dict[str, tuple[str, ...]] = {}
        sets = {name for table in self.experiment.asked() for name in table.sets}
        needed = self.experiment.needed(sets)
        for download in downloads(self.experiment.registry):
            if download.name in needed:
                users.setdefault(download.place, {})[download.component] = None
                lacks[download.place] = download.lacks
        for metric, called in self._similarities():
            for named in named_places(called.target, called.arguments):
                if is_remote(named.place):
                    users.setdefault(named.place, {})[metric] = None
        published = {**places(), DPG_FILE: QUESTIONS}
        found = []
        for name in self._data_files():
            if name in published:
                users.setdefault(published[name].partition(HASH_MARK)[0], {})["prompts"] = None
            else:
                found.append(Fetched(name, ("prompts",), *_TO_BE_MADE))
        for at, who in users.items():
            facts = known(at)
            size = facts.size, facts.size_bytes, facts.licence, facts.access
            found.append(Fetched(at, tuple(who), *size, lacks.get(at, ())))
        return sorted(found, key=lambda each: -(each.size_bytes or 0))

    def _similarities(self) -> Iterator[tuple[str, PromptsSpec]]:
        if any(job.rule == "pairs" for job in self.graph.needs):
            for metric, called in self.experiment.config.similarities.items():
                yield metric, PromptsSpec(called.target, called.arguments)
        if any(job.rule == "fidelity_of_images" for job in self.graph.needs):
            for name, called in self.experiment.config.features.items():
                yield name, PromptsSpec(called.target, called.arguments)

    def _data_files(self) -> list[str]:
        lists: list[Counted] = []
        for job in self.graph.needs:
            if job.rule == "generate":
                spec = self.experiment.registry.benchmarks[job.benchmark].prompts
                lists.append(counted(spec))
            elif job.rule == "train":
                named = self.experiment.prompts(job.model, job.reward, job.what).values()
                lists += [counted(spec) for spec in named]
        return list(dict.fromkeys(file for each in lists for file in each.files))


def total(works: Iterable[Work]) -> Mapping[str, float]:
    """Sums over jobs: ``gpu_hours`` of those that are known, ``unknown`` of how many they are not,
    ``images``, ``steps`` and ``jobs``."""
    found = {"jobs": 0.0, "images": 0.0, "steps": 0.0, "gpu_hours": 0.0, "unknown": 0.0}
    for work in works:
        found["jobs"] += 1
        found["images"] += work.images or 0
        found["steps"] += work.steps
        found["gpu_hours"] += (work.speed.seconds or 0.0) * work.gpus / 3600
        found["unknown"] += work.speed.seconds is None
    return found
