"""Check jobs before the first of them starts: ``python -m harness preflight < lines``.

Each verb checks its own job first. But the last job of a run starts minutes after the first, and a
truncated weight file or a misspelt argument of a table should not wait for that. A line is a verb,
a tab and the job as JSON.

What is missing - pins, files of data, weights that the hub does not give, packages - is named in
one report for all jobs, with what to type.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from harness.base.errors import SpecError
from harness.build.prompts import NOTES, load_prompts
from harness.build.targets import check_size
from harness.cli.missing_report import INDENT, Report
from harness.experiment.components import BenchmarkSpec, ModelSpec, PromptsSpec
from harness.experiment.fidelity_job import FidelityJob
from harness.experiment.jobs import (
    AuditJob,
    GenerateJob,
    MatchJob,
    OverlapJob,
    PairsJob,
    PretrainJob,
    ScoreJob,
    TableJob,
    TimingJob,
    TrainJob,
    load_job,
)
from harness.experiment.validation import to_json
from harness.experiment.weight_files import given_images
from harness.report import frame_inputs
from harness.results.weight_hashes import WeightFile
from harness.stages import (
    audit,
    compare_images,
    fidelity,
    generate,
    overlap,
    pretrain,
    score,
    stop_at_reward,
    train,
)
from harness.timing import profile
from hypernoise.weights import hub, pinned_files
from hypernoise.weights.pinned_files import PinnedFile
from hypernoise.weights.pins import HASH_MARK, REPOSITORY, is_remote

Job: TypeAlias = (
    PretrainJob
    | TrainJob
    | MatchJob
    | AuditJob
    | GenerateJob
    | ScoreJob
    | PairsJob
    | FidelityJob
    | TimingJob
    | OverlapJob
    | TableJob
)
#: What of a job can be checked while other jobs' results are yet to come. A training waits for
#: nobody, and an overlap of prompts has nothing to do but to check, and lists what is no fault.
_CHECKS: Mapping[type[Any], Callable[[Any], object]] = {
    PretrainJob: pretrain.check_ahead,
    MatchJob: stop_at_reward.check_ahead,
    AuditJob: audit.check_ahead,
    GenerateJob: generate.check_ahead,
    ScoreJob: score.check_ahead,
    PairsJob: compare_images.check_ahead,
    FidelityJob: fidelity.check_ahead,
    TimingJob: profile.check_ahead,
    OverlapJob: overlap.run,
    TableJob: frame_inputs.check_ahead,
}
#: The role of files that are data: one in the data folder will do, whoever reads it looks there.
_DATA = "questions"


def command(processes: int) -> int:
    """Check the jobs on standard input; returns the exit code: 0, or 2 where some are at fault.

    Args:
        processes: those that will train together.
    """
    try:
        with notes_shown():
            run(sys.stdin, processes)
    except SpecError as error:
        for line in str(error).splitlines():
            # What to type is typed as it stands.
            print(line if line.startswith(INDENT) else f"error: {line}", file=sys.stderr)
        return 2
    return 0


def run(lines: Iterable[str], n_processes: int = 1) -> None:
    """Check jobs without loading any network.

    Raises:
        SpecError: some cannot be carried out; a line for each fault, and what to type where
            something is missing.
    """
    report, jobs, unread = Report(), list[Job](), list[Exception]()
    for line in lines:
        verb, tab, text = line.rstrip("\n").partition("\t")
        try:
            if not tab:
                raise SpecError(f"not a verb, a tab and a job: {line[:80]!r}")
            jobs.append(load_job(verb, text))
        except ValueError as error:
            unread.append(error)
    with hub.refusals_kept(), pinned_files.refusals_kept():
        # Each thing on its own: a job's own check ends with the first that is missing.
        for file in weights_in(jobs, report):
            with report.faults():
                check_file(file)
        for prompts in {to_json(spec): spec for job in jobs for spec in prompts_in(job)}.values():
            with report.faults():
                load_prompts(prompts)
        makers = {job.out: maker_of(job) for job in jobs if isinstance(job, GenerateJob)}
        for job in jobs:
            with report.faults():
                check(job, n_processes)
            with report.faults():
                check_sizes(job, makers)
    report.add(*unread)
    if report:
        raise SpecError(str(report))


def check(job: Job, n_processes: int = 1) -> None:
    """Check one job.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    if isinstance(job, TrainJob):
        train.check(job, n_processes)
    else:
        _CHECKS[type(job)](job)


def check_sizes(job: Job, makers: Mapping[str, ModelSpec]) -> None:
    """Check that what measures images takes the size that they will have.

    Args:
        makers: frame of images -> the model that is going to make them.

    Raises:
        SpecError: a scorer, reward or comparison takes another size.
    """
    if not isinstance(job, ScoreJob | PairsJob | FidelityJob):
        return
    targets = [(f"comparison {m!r}", s.target) for m, s in getattr(job, "comparisons", {}).items()]
    features = getattr(job, "features", {})
    targets += [(f"feature network {n!r}", spec.target) for n, spec in features.items()]
    if isinstance(job, ScoreJob):
        targets.append((f"benchmark {job.benchmark.name!r}", job.benchmark.target))
        singles = (single for reward in job.rewards.values() for single in reward.singles())
        targets += [(f"reward {single.name!r}", single.target) for single in singles]
    for model in (makers[frame] for frame in job.images if frame in makers):
        for what, target in targets:
            check_size(target, what, model.size_px, f"model {model.name!r}")


def maker_of(job: GenerateJob) -> ModelSpec:
    """The model of some images, at their size: those of other tools may have one of their own."""
    taken = given_images(job.method)
    return replace(job.model, size_px=taken.size_px) if taken and taken.size_px else job.model


def check_file(file: WeightFile) -> None:
    """Check that a file of weights is here, or that it has its pin and can be had.

    Whether a repository of the hub can be had is a matter of what is wanted of it: the components
    that name one look.

    Raises:
        ValueError, FileNotFoundError: it is not.
    """
    if REPOSITORY.fullmatch(file.place) and not Path(file.place).exists():
        hub.check_commit(file.place, file.commit)
    elif is_remote(file.place) and file.role.rpartition(".")[2] != _DATA:
        mark = HASH_MARK if file.sha256 else ""
        PinnedFile.parse(f"{file.place}{mark}{file.sha256}").check_reachable()


def prompts_in(job: object) -> Iterator[PromptsSpec]:
    """The lists of prompts that a job, or a declaration in it, reads."""
    if isinstance(job, PromptsSpec | BenchmarkSpec):
        yield job if isinstance(job, PromptsSpec) else job.prompts
    elif is_dataclass(job):
        for entry in fields(job):
            yield from prompts_in(getattr(job, entry.name))
    elif isinstance(job, Mapping):
        for value in job.values():
            yield from prompts_in(value)


def weights_in(jobs: Iterable[Job], report: Report) -> list[WeightFile]:
    """The files of weights that some jobs load, each once; the report is told whose they are."""
    found: dict[str, WeightFile] = {}
    for job in jobs:
        with report.faults():
            for file in getattr(job, "weights", ()):
                found.setdefault(file.place, file)
                report.use(file.place, file.component)
    return list(found.values())


@contextmanager
def notes_shown() -> Iterator[None]:
    """What lists of prompts have to say goes to standard output, each once."""
    handler, seen = logging.StreamHandler(sys.stdout), dict[str, logging.LogRecord]()

    def is_new(record: logging.LogRecord) -> bool:
        return seen.setdefault(record.getMessage(), record) is record

    handler.addFilter(is_new)
    NOTES.addHandler(handler)
    NOTES.setLevel(logging.INFO)
    try:
        yield
    finally:
        NOTES.removeHandler(handler)
