"""Check jobs before the first of them starts: ``python -m harness preflight < lines``.

Each verb checks its own job first. But the last job of a run starts minutes after the first, and a
truncated weight file or an empty list of prompts should not wait for that. A line is a verb, a tab
and the job as JSON; ``processes`` are those that will train together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.base.import_strings import SpecError, beside, resolve, unknown
from harness.experiment.components import BenchmarkSpec
from harness.experiment.jobs import GenerateJob, OverlapJob, TrainJob, load_job
from harness.stages import generate, overlap, score, train


def run(lines: Iterable[str], n_processes: int = 1) -> None:
    """Check jobs without loading any network.

    Jobs that wait for another's results, like the images of a network that is yet to be trained,
    are left to their verbs.

    Raises:
        ValueError, FileNotFoundError: one of them cannot be carried out.
    """
    for line in lines:
        verb, tab, text = line.rstrip("\n").partition("\t")
        if not tab:
            raise SpecError(f"not a verb, a tab and a job: {line[:80]!r}")
        check(verb, load_job(verb, text), n_processes)


def check(verb: str, job: TrainJob | GenerateJob | OverlapJob, n_processes: int = 1) -> None:
    """Check one job of the verbs train, generate and overlap; raises as :func:`run`."""
    if isinstance(job, TrainJob):
        train.check(job, n_processes)
    elif isinstance(job, OverlapJob):
        # It has nothing to do but to check, and lists what is no fault.
        overlap.run(job)
    elif not isinstance(job, GenerateJob):
        raise unknown("verb to check ahead", verb, ("generate", "overlap", "train"))
    elif job.adapter is None:
        generate.check(job)
        _let_check(job.method.target, job.method.arguments)
    if isinstance(job, GenerateJob) and job.benchmark.scorer:
        check_scorer(job.benchmark)


def check_scorer(benchmark: BenchmarkSpec) -> None:
    """Find a scorer, and let it check its arguments: ``check_NAME`` beside a scorer ``NAME``.

    Raises:
        SpecError: there is no such scorer, it does not give the declared metric, or as its check.
    """
    resolve(benchmark.scorer)
    score.metrics_of(benchmark)
    _let_check(benchmark.scorer, benchmark.scorer_arguments)


def _let_check(target: str, arguments: Mapping[str, Any]) -> None:
    """Let a target ``module:NAME`` check its arguments, if there is a ``check_NAME`` beside it."""
    own_check = beside(target, "check_{}")
    if own_check is not None:
        own_check(**arguments)
