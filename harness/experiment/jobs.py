"""What each verb of ``python -m harness`` is asked to do. Standard library only.

Paths are relative to the working directory. ``work`` is a folder for partial results: it is no
declared output, so Snakemake leaves it alone when a job is killed, and a rerun of the *same* job
continues from it. ``out`` is complete once it exists. What a job ``reads`` of other jobs' results
is hashed into the provenance of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic.dataclasses import dataclass

from harness.base.import_strings import unknown
from harness.experiment.components import (
    Arguments,
    BenchmarkSpec,
    ComparisonSpec,
    MethodSpec,
    ModelSpec,
    PromptsSpec,
    RewardSpec,
    TableSpec,
)
from harness.experiment.validation import STRICT, Count, from_json, to_json
from harness.results.training_folder import CHECKPOINTS, STEPS_FILE, network_files

#: Images lie in this folder beside their frame.
PNG_FOLDER = "png"
#: Fields that name places or resources: a job that differs in these only gives the same numbers.
_NO_IDENTITY = ("file", "out", "work", "threads", "encodings")


@dataclass(frozen=True, config=STRICT)
class PretrainJob:
    """Make shipped weights of the embedded world.

    Attributes:
        kind: a whole pipeline, or an image-text matcher.
        recipe: the recipe's name; it says everything else.
        changes: recipe fields to change, e.g. ``{"steps": 10}`` for a try.
        models: the generators whose images a matcher learns from.
        out: the pipeline's folder, or the matcher's safetensors file.
    """

    kind: Literal["generator", "matcher"]
    recipe: str
    out: str
    threads: Count = 1
    changes: Arguments = field(default_factory=dict)
    models: tuple[ModelSpec, ...] = ()


@dataclass(frozen=True, config=STRICT)
class TrainJob:
    """Train a noise network or fine-tune the generator.

    Attributes:
        method: a method with ``trains``.
        reward: what is maximised.
        extra_rewards: judges, logged on the validation prompts under their keys.
        options: fields of :class:`hypernoise.training.loop.TrainingOptions`.
        validation_images: images per validation prompt.
        out: folder for the adapter, ``steps.parquet`` and ``checkpoints/``.
    """

    model: ModelSpec
    method: MethodSpec
    reward: RewardSpec
    train_prompts: PromptsSpec
    validation_prompts: PromptsSpec
    options: Arguments
    out: str
    work: str
    extra_rewards: Mapping[str, RewardSpec] = field(default_factory=dict)
    validation_images: Count = 1
    threads: Count = 1


@dataclass(frozen=True, config=STRICT)
class MatchJob:
    """Pick the fine-tuning checkpoint that has hypernoise's validation reward.

    Attributes:
        finetune: ``out`` folder of the fine-tuning.
        hypernoise: ``out`` folder of the noise network's training.
        reward: name of the training reward.
        out: folder for the adapter, ``match.json`` and its provenance.
    """

    finetune: str
    hypernoise: str
    reward: str
    out: str

    @property
    def reads(self) -> tuple[str, ...]:
        measured = (
            str(Path(training, STEPS_FILE)) for training in (self.finetune, self.hypernoise)
        )
        return (*measured, str(Path(self.finetune, CHECKPOINTS)))


@dataclass(frozen=True, config=STRICT)
class AuditJob:
    """Measure the KL terms that a noise network's training drops
    (:mod:`hypernoise.networks.kl_audit`).

    Attributes:
        reward: name of the reward that the network was trained on.
        training: ``out`` folder of its training.
        prompts: what the network is audited on.
        n_images: noises per prompt.
        seed: experiment seed; noises are those of images with the same seed, prompt and index.
        checkpoints: checkpoints to audit, evenly over the training; the kept one comes besides.
        options: fields of :class:`hypernoise.networks.kl_audit.AuditOptions`.
        precision: ``"float32"``, or ``"float64"`` for weights, noise and products; layers that
            compute in float32 by themselves still do.
        out: path of the audits' parquet.
    """

    model: ModelSpec
    method: MethodSpec
    reward: str
    training: str
    prompts: PromptsSpec
    n_images: Count
    seed: int
    checkpoints: Count
    out: str
    work: str
    options: Arguments = field(default_factory=dict)
    precision: Literal["float32", "float64"] = "float32"
    threads: Count = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.training,)


@dataclass(frozen=True, config=STRICT)
class GenerateJob:
    """Generate a benchmark's images with one method.

    Attributes:
        reward: searched by methods that need one; for trained methods the reward that they were
            trained on, which is part of the images' identity; None for base.
        adapter: folder of the trained network; None for methods that train nothing.
        seed: experiment seed; the noise of an image follows from it, the prompt and the index.
        out: path of ``images.parquet``; ``png/`` goes beside it.
    """

    model: ModelSpec
    method: MethodSpec
    reward: RewardSpec | None
    benchmark: BenchmarkSpec
    steps: Count
    seed: int
    batch_size: Count
    adapter: str | None
    out: str
    work: str
    threads: Count = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return Timed(self.method, self.adapter).reads


@dataclass(frozen=True, config=STRICT)
class ScoreJob:
    """Score images with a benchmark's scorer and with rewards.

    Attributes:
        rewards: metric (``train_reward``, ``judge_reward``, or a reward's own name) to reward.
        images: paths of ``images.parquet`` files.
        batch_size: images per reward call.
        swap: measure everything against swapped prompts too, under names that end in
            :data:`harness.results.frames.SWAPPED`; how
            (:data:`harness.stages.prompt_swaps.SWAPS`), empty for not at all.
        seed: experiment seed; the swap follows from it.
        out: path of the scores' parquet.
    """

    benchmark: BenchmarkSpec
    rewards: Mapping[str, RewardSpec]
    images: tuple[str, ...]
    out: str
    threads: Count = 1
    batch_size: Count = 64
    swap: str = ""
    seed: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        return _with_pictures(self.images)


@dataclass(frozen=True, config=STRICT)
class PairsJob:
    """Compare the images of each prompt with one another.

    Attributes:
        comparisons: metric -> comparison; the metric's name says what a higher value means
            (:data:`harness.similarity.protocol.ENDINGS`).
        images: paths of ``images.parquet`` files.
        batch_size: images that are embedded together.
        out: path of the pairs' parquet.
    """

    comparisons: Mapping[str, ComparisonSpec]
    images: tuple[str, ...]
    out: str
    threads: Count = 1
    batch_size: Count = 32

    @property
    def reads(self) -> tuple[str, ...]:
        return _with_pictures(self.images)


@dataclass(frozen=True, config=STRICT)
class Timed:
    """A method to time, with the folder of its trained network, if any."""

    method: MethodSpec
    adapter: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return network_files(self.adapter, self.method.checkpoint) if self.adapter else ()


@dataclass(frozen=True, config=STRICT)
class ProfileJob:
    """Time methods against one another.

    Attributes:
        reward: searched by methods that need one, and the name of the trained ones' reward.
        benchmark: whose prompts are used.
        batch_size: the evaluation's.
        single_images: time single images besides.
        peak_memory: measure what a call holds in memory, by one call more of each method.
        repeats: timings of a fast method; a slow one gets fewer, at least 3.
        out: path of the timings' parquet.
    """

    model: ModelSpec
    methods: tuple[Timed, ...]
    reward: RewardSpec
    benchmark: BenchmarkSpec
    batch_size: Count
    repeats: Count
    steps: Count
    out: str
    threads: Count = 1
    single_images: bool = True
    peak_memory: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file for timed in self.methods for file in timed.reads))


@dataclass(frozen=True, config=STRICT)
class LatencyJob:
    """Measure what methods cost, stage by stage. Trained methods run with untrained networks: what
    they cost does not depend on the values of weights.

    Attributes:
        methods: they take turns.
        reward: searched by methods that need one; None where none does.
        prompts: whose texts are drawn.
        batch_sizes, sampling_steps: every combination is measured; no steps are the model's own.
        sizes_px, precisions: of the generator; empty for the model's own.
        modes: keys of :data:`hypernoise.compilation.MODES`.
        repeats: calls of a fast method; a slow one gets fewer, at least 3.
        rank: LoRA rank of the untrained networks.
        device: torch device; empty for the GPU where there is one.
        out: path of the latencies' parquet.
    """

    model: ModelSpec
    methods: tuple[MethodSpec, ...]
    prompts: PromptsSpec
    out: str
    reward: RewardSpec | None = None
    batch_sizes: tuple[int, ...] = (1,)
    sampling_steps: tuple[int, ...] = ()
    sizes_px: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    modes: tuple[str, ...] = ("eager",)
    repeats: Count = 20
    rank: Count = 8
    device: str = ""
    threads: Count = 1


@dataclass(frozen=True, config=STRICT)
class OverlapJob:
    """Check that no prompt is both trained and evaluated on.

    Attributes:
        trainings: what messages call a training -> its prompts.
        benchmarks: name of a benchmark -> its prompts.
        validations: what messages call a training's validation -> its prompts; they may be
            evaluated on too, which is listed.
    """

    trainings: Mapping[str, PromptsSpec]
    benchmarks: Mapping[str, PromptsSpec]
    validations: Mapping[str, PromptsSpec] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class TableJob:
    """Make one table, figure or gallery.

    Attributes:
        inputs: kind of frame (:data:`harness.results.frames.SCHEMAS`) to parquet files.
        out: path without suffix; one file per format is written.
    """

    table: TableSpec
    inputs: Mapping[str, tuple[str, ...]]
    out: str

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file for files in self.inputs.values() for file in files))


Job: TypeAlias = (
    PretrainJob
    | TrainJob
    | MatchJob
    | AuditJob
    | GenerateJob
    | ScoreJob
    | PairsJob
    | ProfileJob
    | LatencyJob
    | OverlapJob
    | TableJob
)

#: Verb of the command line -> its job.
JOBS: dict[str, type[Any]] = {
    "pretrain": PretrainJob,
    "train": TrainJob,
    "match": MatchJob,
    "audit": AuditJob,
    "generate": GenerateJob,
    "score": ScoreJob,
    "pairs": PairsJob,
    "profile": ProfileJob,
    "latency": LatencyJob,
    "overlap": OverlapJob,
    "table": TableJob,
    "figure": TableJob,
    "gallery": TableJob,
    "origins": TableJob,
}


def load_job(verb: str, text: str) -> Any:
    """The job of a verb, from its JSON or from the path of a file that holds it.

    Raises:
        SpecError: the verb or a field is unknown, or a field is missing or malformed.
        FileNotFoundError: the text is no JSON object and no file either.
    """
    if verb not in JOBS:
        raise unknown("verb", verb, JOBS)
    if not text.lstrip().startswith("{"):
        path = Path(text)
        if not path.is_file():
            raise FileNotFoundError(f"job file {text} is missing")
        text = path.read_text(encoding="utf-8")
    return from_json(text, JOBS[verb])


def job_hash(job: Job, inputs: Iterable[str] = (), prompts: Sequence[tuple[str, str]] = ()) -> str:
    """What two runs must share for one to continue the other's work, as 64 hex digits.

    Args:
        job: its file names, folders and threads do not count.
        inputs: local files or folders that it reads; a change of size or time of any counts.
        prompts: (prompt_id, text) of the prompts that its targets gave.
    """
    identity = {
        "job": _identity(job),
        "inputs": [fingerprint(path) for path in inputs],
        "prompts": prompts,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _with_pictures(frames: Sequence[str]) -> tuple[str, ...]:
    """Frames of images, and the folders of the images that they name."""
    return (*frames, *(str(Path(frame).with_name(PNG_FOLDER)) for frame in frames))


def _identity(value: Any) -> Any:
    if is_dataclass(value):
        names = [entry.name for entry in fields(value) if entry.name not in _NO_IDENTITY]
        return {name: _identity(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {key: _identity(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(item) for item in value]
    return value


def fingerprint(path: str) -> list[Any]:
    """Name, size and time of a file, or of every file in a folder."""
    root = Path(path)
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    stats = [(file, file.stat()) for file in files]
    return [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in stats]


__all__ = [
    "JOBS",
    "AuditJob",
    "GenerateJob",
    "Job",
    "LatencyJob",
    "MatchJob",
    "OverlapJob",
    "PairsJob",
    "PretrainJob",
    "ProfileJob",
    "ScoreJob",
    "TableJob",
    "Timed",
    "TrainJob",
    "fingerprint",
    "from_json",
    "job_hash",
    "load_job",
    "to_json",
]
