"""Check jobs before the first of them starts: ``python -m harness preflight < lines``.

Each verb checks its own job first. But the last job of a run starts minutes after the first, and a
truncated weight file or a misspelt argument of a table should not wait for that. A line is a verb,
a tab and the job as JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.base.errors import SpecError
from harness.experiment import pins
from harness.experiment.jobs import (
    AuditJob,
    GenerateJob,
    Job,
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
from harness.report import frame_inputs
from harness.stages import (
    audit,
    compare_images,
    generate,
    overlap,
    pretrain,
    score,
    stop_at_reward,
    train,
)
from harness.timing import profile

#: What of a job can be checked while other jobs' results are yet to come. A training waits for
#: nobody, and an overlap of prompts has nothing to do but to check, and lists what is no fault.
_CHECKS: Mapping[type[Any], Callable[[Any], object]] = {
    PretrainJob: pretrain.check_ahead,
    MatchJob: stop_at_reward.check_ahead,
    AuditJob: audit.check_ahead,
    GenerateJob: generate.check_ahead,
    ScoreJob: score.check_ahead,
    PairsJob: compare_images.check_ahead,
    TimingJob: profile.check_ahead,
    OverlapJob: overlap.run,
    TableJob: frame_inputs.check_ahead,
}


def command(processes: int) -> int:
    """Check the jobs on standard input; returns the exit code: 0, or 2 where some are at fault.

    Args:
        processes: those that will train together.
    """
    try:
        run(sys.stdin, processes)
    except SpecError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    return 0


def run(lines: Iterable[str], n_processes: int = 1) -> None:
    """Check jobs without loading any network.

    Raises:
        SpecError: some cannot be carried out; a line for each fault.
    """
    faults: dict[str, None] = {}
    for line in lines:
        verb, tab, text = line.rstrip("\n").partition("\t")
        try:
            if not tab:
                raise SpecError(f"not a verb, a tab and a job: {line[:80]!r}")
            check(load_job(verb, text), n_processes)
        except (ValueError, FileNotFoundError) as error:
            faults[f"{error}{pins.advice(error)}"] = None
    if faults:
        raise SpecError("\n".join(faults))


def check(job: Job, n_processes: int = 1) -> None:
    """Check one job.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    if isinstance(job, TrainJob):
        train.check(job, n_processes)
    else:
        _CHECKS[type(job)](job)
