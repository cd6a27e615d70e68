"""What each verb of ``python -m harness`` is asked to do. Standard library only.

Paths are relative to the working directory. ``work`` is a folder for partial results: it is no
declared output, so Snakemake leaves it alone when a job is killed, and a rerun of the *same* job
continues from it. ``out`` is complete once it exists. What a job ``reads`` of other jobs' results
is hashed into the provenance of its own, and so is every file of ``weights`` that it loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from harness.base.errors import unknown
from harness.experiment.components import (
    Arguments,
    BenchmarkSpec,
    MethodSpec,
    ModelSpec,
    PromptsSpec,
    RewardSpec,
    SimilaritySpec,
    TableSpec,
)
from harness.experiment.cuts import WHOLE, CutField
from harness.experiment.fidelity_job import PNG_FOLDER as PNG_FOLDER
from harness.experiment.fidelity_job import FidelityJob, with_pictures
from harness.experiment.identity import Place, Places, Threads, marks_of
from harness.experiment.validation import STRICT, Count, from_json
from harness.experiment.weight_files import weights_of
from harness.results.training_folder import CHECKPOINTS, STEPS_FILE, network_files
from hypernoise.identity import PLACE, SCORES_ONLY, SPEED_ONLY, Mark
from hypernoise.training.kinds import kind_of


@dataclass(frozen=True, config=STRICT)
class PretrainJob:
    """Make shipped weights of the embedded world.

    Attributes:
        kind: a whole pipeline, an image-text matcher, or the judge of its like.
        recipe: the recipe's name; it says everything else.
        changes: recipe fields to change, e.g. ``{"steps": 10}`` for a try.
        models: the generators whose images a matcher learns from.
        out: the pipeline's folder, or the matcher's safetensors file.
    """

    kind: Literal["generator", "matcher", "judge"]
    recipe: str
    out: Place
    threads: Threads = 1
    changes: Arguments = field(default_factory=dict)
    models: tuple[ModelSpec, ...] = ()


@dataclass(frozen=True, config=STRICT)
class TrainJob:
    """Train a noise network or fine-tune the generator.

    Attributes:
        method: a method with ``trains``.
        reward: what is maximised.
        extra_rewards: judges, logged on the validation prompts under their keys.
        options: fields of the kind's options (:mod:`hypernoise.training.options`).
        validation_images: images per validation prompt.
        out: folder for the adapter, ``steps.parquet`` and ``checkpoints/``.
        trackers: what else is told of the measurements while it trains -> folder for its files.
    """

    model: ModelSpec
    method: MethodSpec
    reward: RewardSpec
    train_prompts: PromptsSpec
    validation_prompts: PromptsSpec
    options: Arguments
    out: Place
    work: Place
    extra_rewards: Mapping[str, RewardSpec] = field(default_factory=dict)
    validation_images: Count = 1
    threads: Threads = 1
    trackers: Annotated[Mapping[str, str], PLACE] = field(default_factory=dict)

    @property
    def targets(self) -> dict[str, str]:
        """What ``options`` are arguments of."""
        options = kind_of(str(self.method.trains)).options
        return {"options": f"{options.__module__}:{options.__name__}"}

    weights = property(lambda job: weights_of(job.model, job.reward, *job.extra_rewards.values()))


@dataclass(frozen=True, config=STRICT)
class MatchJob:
    """Pick the fine-tuning checkpoint that has hypernoise's validation reward.

    Attributes:
        finetune: ``out`` folder of the fine-tuning.
        hypernoise: ``out`` folder of the noise network's training.
        reward: name of the training reward.
        out: folder for the adapter, ``match.json`` and its provenance.
    """

    finetune: Place
    hypernoise: Place
    reward: str
    out: Place

    @property
    def reads(self) -> tuple[str, ...]:
        measured = (str(Path(of, STEPS_FILE)) for of in (self.finetune, self.hypernoise))
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
        options: fields of :class:`hypernoise.networks.audit_options.AuditOptions`.
        precision: ``"float32"``, or ``"float64"`` for weights, noise and products; layers that
            compute in float32 by themselves still do.
        out: path of the audits' parquet.
    """

    model: ModelSpec
    method: MethodSpec
    reward: str
    training: Place
    prompts: PromptsSpec
    n_images: Count
    seed: int
    checkpoints: Count
    out: Place
    work: Place
    options: Arguments = field(default_factory=dict)
    precision: Literal["float32", "float64"] = "float32"
    threads: Threads = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.training,)

    weights = property(lambda job: weights_of(job.model))


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

    does_not_count: ClassVar[frozenset[Mark]] = frozenset({PLACE, SPEED_ONLY, SCORES_ONLY})

    model: ModelSpec
    method: MethodSpec
    reward: RewardSpec | None
    benchmark: BenchmarkSpec
    steps: Count
    seed: int
    batch_size: Count
    adapter: Annotated[str | None, PLACE]
    out: Place
    work: Place
    threads: Threads = 1
    cut: CutField = WHOLE

    @property
    def reads(self) -> tuple[str, ...]:
        return Timed(self.method, self.adapter).reads

    @property
    def searched(self) -> RewardSpec | None:
        """The reward where the method searches for it: a trained one carries its name only."""
        return self.reward if self.method.needs_reward else None

    weights = property(lambda job: weights_of(job.model, job.method, job.searched))


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
    images: Places
    out: Place
    threads: Threads = 1
    batch_size: Annotated[Count, SPEED_ONLY] = 64
    swap: str = ""
    seed: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        return with_pictures(self.images)

    weights = property(lambda job: weights_of(job.benchmark, *job.rewards.values()))


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

    comparisons: Mapping[str, SimilaritySpec]
    images: Places
    out: Place
    threads: Threads = 1
    batch_size: Annotated[Count, SPEED_ONLY] = 32

    @property
    def reads(self) -> tuple[str, ...]:
        return with_pictures(self.images)

    weights = property(lambda job: weights_of(comparisons=job.comparisons))


@dataclass(frozen=True, config=STRICT)
class Timed:
    """A method to time, with the folder of its trained network, if any."""

    method: MethodSpec
    adapter: Annotated[str | None, PLACE] = None

    @property
    def reads(self) -> tuple[str, ...]:
        return network_files(self.adapter, self.method.checkpoint) if self.adapter else ()


@dataclass(frozen=True, config=STRICT)
class TimingJob:
    """Time methods against one another, stage by stage, from texts to images.

    Attributes:
        methods: they take turns. A trained method without an adapter runs with an untrained
            network, whose calls cost the same.
        reward: searched by methods that need one, and the name of the trained ones' reward.
        benchmark: whose prompts are used.
        batch_sizes, sampling_steps: every combination is timed; no steps are the model's own.
        sizes_px, precisions, modes: of the generator; empty for the model's own. Modes are keys of
            :data:`hypernoise.compilation.MODES`.
        repeats: timings of a fast method; a slow one gets fewer, but six.
        rank: LoRA rank of untrained networks.
        operations, peak_memory: count these, by one call more each of every method.
        device: torch device; empty for the GPU where there is one.
        out: path of the timings' parquet.
    """

    does_not_count: ClassVar[frozenset[Mark]] = frozenset({PLACE, SCORES_ONLY})

    model: ModelSpec
    methods: tuple[Timed, ...]
    benchmark: BenchmarkSpec
    out: Place
    reward: RewardSpec | None = None
    batch_sizes: tuple[int, ...] = (1,)
    sampling_steps: tuple[int, ...] = ()
    sizes_px: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    repeats: Count = 20
    rank: Count = 8
    operations: bool = True
    peak_memory: bool = True
    device: str = ""
    threads: Count = 1

    @property
    def searched(self) -> RewardSpec | None:
        """The reward where a method searches for it: only then it is loaded."""
        return self.reward if any(timed.method.needs_reward for timed in self.methods) else None

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file for timed in self.methods for file in timed.reads))

    weights = property(
        lambda job: weights_of(job.model, *(timed.method for timed in job.methods), job.searched)
    )


@dataclass(frozen=True, config=STRICT)
class OverlapJob:
    """Check that no prompt is both trained and evaluated on.

    Attributes:
        trainings: what messages call a training -> its prompts.
        benchmarks: name of a benchmark -> its prompts.
        validations: the same of validations, which may be evaluated on too: that is listed.
        measured: name of a training or validation -> its network's benchmarks; all without it.
    """

    trainings: Mapping[str, PromptsSpec]
    benchmarks: Mapping[str, PromptsSpec]
    validations: Mapping[str, PromptsSpec] = field(default_factory=dict)
    measured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class TableJob:
    """Make one table, figure or gallery.

    Attributes:
        inputs: kind of frame (:data:`harness.results.frames.SCHEMAS`) to parquet files.
        out: path without suffix; one file per format is written.
        rehearsal: whether the frames are of stand-ins.
    """

    table: TableSpec
    inputs: Annotated[Mapping[str, tuple[str, ...]], PLACE]
    out: Place
    rehearsal: bool = False

    reads = property(lambda job: tuple(dict.fromkeys(f for fs in job.inputs.values() for f in fs)))


#: Verb of the command line -> its job.
JOBS: dict[str, type[Any]] = {
    "pretrain": PretrainJob,
    "train": TrainJob,
    "match": MatchJob,
    "audit": AuditJob,
    "generate": GenerateJob,
    "score": ScoreJob,
    "pairs": PairsJob,
    "fidelity": FidelityJob,
    "profile": TimingJob,
    "overlap": OverlapJob,
    "table": TableJob,
    "figure": TableJob,
    "gallery": TableJob,
    "origins": TableJob,
}


def load_job(verb: str, text: str) -> Any:
    """The job of a verb, from its JSON.

    Raises:
        SpecError: the verb or a field is unknown, or a field is missing or malformed.
    """
    if verb not in JOBS:
        raise unknown("verb", verb, JOBS)
    return from_json(text, JOBS[verb])


def place_names() -> set[str]:
    """Names of fields of jobs and components that say where, and not what."""
    kinds = {*JOBS.values(), Timed, ModelSpec, RewardSpec, MethodSpec, BenchmarkSpec, TableSpec}
    return {name for kind in kinds for name, marks in marks_of(kind).items() if PLACE in marks}
