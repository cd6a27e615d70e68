"""What each job asks a cluster for: memory, GPU memory, GPUs, minutes.

From the plan's figures: sizes of the weights that a job loads, counted peaks of training steps,
seconds of an image. They are asked for with room to spare, and a retry asks for more. What nobody
knows has a stated stand-in, for a scheduler takes no "unknown"; a profile's ``set-resources``, or
``--set-resources``, overrules each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.build.memory_peaks import GIB, find, recorded
from harness.experiment.cuts import Cut
from harness.experiment.jobs import PNG_FOLDER
from harness.experiment.places import IMAGES, IMAGES_SHARD, fields, place, whole
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.experiment.publishers import known
from harness.planning.job_graph import Job, JobGraph
from harness.results.weight_hashes import WeightFile
from hypernoise.training.kinds import KINDS
from hypernoise.training.options import NoiseNetworkOptions
from hypernoise.weights.pins import REPOSITORY, is_remote, located

if TYPE_CHECKING:
    from harness.planning.costs import Costs, Work

#: Host memory of a job without its weights: libraries, CUDA's context, decoded images.
_OWN_MB = 6_000
#: Weights whose size nobody published. As large as the paper's largest reward in float32.
_UNKNOWN_WEIGHTS_MB = 8_000
#: Weights are read into memory before they are cast, and lie in the page cache meanwhile.
_WEIGHTS_ROOM = 1.25
#: Of a table's frames, for each image: some ten metrics of a few hundred bytes in memory.
_TABLE_MB, _TABLE_IMAGE_MB = 4_000, 0.005
#: Activations of a megapixel that is drawn, mostly the VAE's decoder; with a gradient as counted in
#: docs/memory.md.
_DRAWN_MB, _CLIMBED_MB = 3_000, 8_000
#: Beside tensors: CUDA's context, kernels' buffers, what the allocator wastes.
_GPU_OWN_MB = 2_500
#: Minutes beside the plan's seconds: starting, downloads, loading, writing.
_START_MINUTES = 20
#: How much longer a job may take than planned: another GPU, a slow file system.
_TIME_ROOM = 1.5
#: A shard takes at most so long by the plan, where the config leaves it to the plan.
_SHARD_SECONDS = 2 * 3600
#: What a shard of images leaves.
FILE = "made.json"
#: Of a job whose seconds nobody measured.
_UNKNOWN_MINUTES = 240
_SHORT_MINUTES = 60
#: Rules whose jobs take minutes of a processor.
_SHORT = ("match", "table")
#: How a Slurm job gets a node to itself.
_ALONE = "--exclusive"


class Asked(NamedTuple):
    """What a job asks for at its first try.

    Attributes:
        mem_mb, gpu_mem_mb: megabytes of host memory, and of one GPU's.
        minutes: until it may be stopped.
    """

    mem_mb: int
    gpu_mem_mb: int
    minutes: int


@dataclass(frozen=True)
class Cluster:
    """The requests of an experiment's jobs, by the paper's seconds: a plan that is the same on
    every machine, as a job's own node works it out again.

    Attributes:
        is_local: whether jobs run on this machine, where nothing but its GPUs is shared out. The
            limit of those has a name of its own: this machine's is no limit of a cluster.
        recorded: file -> the inputs that Snakemake has made it of, if it has.
    """

    experiment: Experiment
    is_local: Callable[[], bool] = lambda: False
    recorded: Callable[[str], Iterable[str] | None] = lambda file: None

    @cached_property
    def costs(self) -> Costs:
        """What the jobs take."""
        # Lazy import: seconds are read with pandas, which a run of this machine has no use for.
        from harness.planning.costs import Costs
        from harness.planning.speeds import Speeds, of_paper

        return Costs(JobGraph(self.experiment), Speeds(self.experiment, (of_paper(),)))

    def resources(self, rule: str, gpus: int) -> dict[str, Any]:
        """The resources of a rule, as Snakemake takes them.

        Args:
            rule: its name, or a table's for ``rule="table"``.
            gpus: that one of its jobs takes; 0 for a rule that takes none.
        """
        found: dict[str, Any] = {}
        if gpus:
            own: Any = gpus
            if rule == "generate" and self.experiment.config.shards != 1:
                # Who joins shards has nothing to compute.
                own = lambda wildcards: 0 if self.parts(wildcards) else gpus  # noqa: E731
            found = {"gpu": own, "local_gpu": self._here(own)}

        def of(name: str) -> Callable[..., int]:
            def resource(wildcards: Any, attempt: int) -> int:
                if self.is_local():
                    return 0
                own = self.asked(rule, fields(wildcards), bool(gpus))._asdict()
                if rule == "generate" and not hasattr(wildcards, "shard") and self.parts(wildcards):
                    own = Asked(_OWN_MB, 0, _SHORT_MINUTES)._asdict()
                return int(own[name]) * attempt

            return resource

        found |= {"mem_mb": of("mem_mb"), "runtime": of("minutes")}
        found |= {"gpu_mem_mb": of("gpu_mem_mb")} if gpus else {}
        # A timing with neighbours is of no use.
        return found | ({"slurm_extra": _ALONE} if rule == "profile" else {})

    def of_table(self, table: Any) -> dict[str, Any]:
        """As :meth:`resources`, for the rule of a table (TableSpec)."""

        def mem_mb(wildcards: Any, attempt: int) -> int:
            if self.is_local():
                return 0
            named = Table(self.experiment, table, getattr(wildcards, "model", "")).named
            runs = (run for name, model in named for run in self.experiment.runs(name, model))
            images = sum(self.work("generate", run._asdict()).images or 0 for run in runs)
            return math.ceil(_TABLE_MB + _TABLE_IMAGE_MB * images) * attempt

        return {"mem_mb": mem_mb, "runtime": lambda wildcards, attempt: _SHORT_MINUTES * attempt}

    def asked(self, rule: str, wildcards: Mapping[str, Any], on_gpu: bool) -> Asked:
        """What a job asks for.

        Args:
            rule: ``generate``, ``train``, ...
            wildcards: its fields, as :func:`harness.experiment.places.fields` gives them.
            on_gpu: whether it has a GPU, where seconds of the plan hold.

        Raises:
            SpecError: there is no such job.
        """
        if rule in _SHORT or rule.startswith("pretrain"):
            minutes = _SHORT_MINUTES if rule in _SHORT else _UNKNOWN_MINUTES
            return Asked(_OWN_MB, _GPU_OWN_MB, minutes)
        n_shards, wildcards = int(wildcards.get("shards", 1)), whole(dict(wildcards))
        model, job = wildcards["model"], getattr(Planned(self.experiment), rule)(**wildcards)
        weights_mb = sum(map(size_mb, job.weights)) * _WEIGHTS_ROOM
        if not job.weights and (peak := next((p for p in recorded() if p.model == model), None)):
            # Random weights are in no file.
            weights_mb = peak.networks_gib * GIB / 1e6
        seconds = self.work(rule, wildcards).speed.seconds
        gpu_mem_mb = weights_mb + self._activations_mb(rule, wildcards, job) + _GPU_OWN_MB
        return Asked(
            math.ceil(_OWN_MB + weights_mb),
            math.ceil(gpu_mem_mb),
            minutes_of(seconds and seconds / n_shards) if on_gpu else _UNKNOWN_MINUTES,
        )

    def _here(self, gpus: Any) -> Callable[[Any], int]:
        """GPUs of this machine that a job takes. Which executor runs the jobs, Snakemake knows only
        after it has read the rules."""

        def resource(wildcards: Any) -> int:
            if not self.is_local():
                return 0
            return int(gpus(wildcards) if callable(gpus) else gpus)

        return resource

    def n_shards(self, run: Mapping[str, Any]) -> int:
        """How many shards the images of a run are cut into.

        Those that are made already keep the number that they were made of: another one would make
        them again.
        """
        frame = place(f"{IMAGES}/images.parquet", **run)
        made_of = [str(file) for file in self.recorded(frame) or ()]
        if made_of:
            return max(1, sum(Path(file).name == FILE for file in made_of))
        declared = self.experiment.config.shards
        if declared == 1:
            return 1
        work = self.work("generate", run)
        if work.images is None:
            return 1
        by_plan = math.ceil((work.speed.seconds or 0) / _SHARD_SECONDS)
        wanted = by_plan if declared == "auto" else declared
        return max(1, min(wanted, -(-work.images // self.experiment.config.batch_size)))

    def parts(self, wildcards: Any) -> list[str]:
        """The files of the shards that a run's images are joined of; none if they are not."""
        run = whole(fields(wildcards))
        n = self.n_shards(run)
        if n == 1 or hasattr(wildcards, "shard"):
            return []
        each = (place(IMAGES_SHARD, shard=k, shards=n, **run) for k in range(1, n + 1))
        return [f"{folder}/{FILE}" for folder in each]

    def needs(self, alone: Callable[[Any], list[str]]) -> Callable[[Any], list[str]]:
        """The input function of images: their shards, or what they need without any."""

        def needed(wildcards: Any) -> list[str]:
            parts = self.parts(wildcards)
            pictures = [str(Path(part).with_name(PNG_FOLDER)) for part in parts]
            return alone(wildcards) + parts + pictures

        return needed

    def cut(self, job: Any, wildcards: Any) -> Any:
        """The job of a shard, or of joining shards; others as they are."""
        if hasattr(wildcards, "shard"):
            folder = place(IMAGES_SHARD, **fields(wildcards))
            named = f"{wildcards.shard}/{wildcards.shards}"
            work = f"{job.work}/{named.replace('/', '-of-')}"
            return replace(job, out=f"{folder}/{FILE}", work=work, cut=Cut(named))
        parts = self.parts(wildcards)
        return replace(job, cut=Cut("", tuple(parts))) if parts else job

    def work(self, rule: str, wildcards: Mapping[str, Any]) -> Work:
        """What the plan says of a job."""
        names = {"audit_network": "audit"}
        keys = ("method", "training", "image_set")
        what = next(str(wildcards[key]) for key in keys if key in wildcards)
        rest = {k: v for k, v in wildcards.items() if k not in keys}
        return self.costs.work(Job(names.get(rule, rule), what, **rest))

    def _activations_mb(self, rule: str, wildcards: Mapping[str, Any], job: Any) -> float:
        """Beside weights, of what a job holds on its GPU."""
        if rule in ("score", "pairs"):
            return _DRAWN_MB
        megapixels: float = (job.model.size_px / 1024) ** 2
        if rule == "train":
            kind = KINDS[str(job.method.trains)]
            options = kind.checked(dict(job.options))
            n_images: int = -(-options.batch_size // self.experiment.config.processes)
            if isinstance(options, NoiseNetworkOptions) and (peak := find(job.model, options)):
                return (peak.gib(n_images, options.rank) - peak.networks_gib) * GIB / 1e6
            return _CLIMBED_MB * megapixels * n_images
        if rule not in ("generate", "profile"):
            return _CLIMBED_MB * megapixels
        at_once: int = job.batch_size if rule == "generate" else max(job.batch_sizes)
        return (_CLIMBED_MB if job.searched else _DRAWN_MB) * megapixels * at_once


def minutes_of(seconds: float | None) -> int:
    """Minutes to ask for, for so many planned seconds; None is unknown."""
    if seconds is None:
        return _UNKNOWN_MINUTES
    return math.ceil(_START_MINUTES + _TIME_ROOM * seconds / 60)


def size_mb(weights: WeightFile) -> float:
    """Megabytes of a component's weights: on this machine, as published, or the stand-in."""
    root = Path(located(weights.place))
    if root.exists():
        files = [root] if root.is_file() else [p for p in root.rglob("*") if p.is_file()]
        return sum(file.stat().st_size for file in files) / 1e6
    if root.suffix in (".csv", ".txt"):
        return 0.0
    published = known(weights.place).size_bytes if is_published(weights.place) else None
    return _UNKNOWN_WEIGHTS_MB if published is None else published / 1e6


def is_published(place: str) -> bool:
    """Whether a place is of the hub or the web."""
    return is_remote(place) or REPOSITORY.fullmatch(place) is not None
