"""What a run does before its first job and after its last, for Snakefiles.

Snakemake takes ``onstart``, ``onsuccess`` and ``onerror`` of the main Snakefile alone. A Snakefile
that uses ours as a module says them again, a line each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from harness.base.parents import name_run
from harness.base.run_account import account
from harness.base.run_progress import RunProgress
from harness.cli import job_server
from harness.experiment.workflow import Rules, hold_alone

_opened: list[Rules] = []


def opened(ask: Rules) -> Rules:
    """Keep what the rules of this process ask, for the functions below; returns it."""
    _opened[:] = [ask]
    return ask


def at_start(workflow: Any, logger: Any) -> None:
    """Keep other runs out of the folder, check all jobs ahead, and start the jobs' server."""
    if not workflow.is_main_process:
        return
    hold_alone()
    if workflow.local_exec:
        # Jobs of a cluster end as its own rules say.
        name_run()
    _opened[0].check_ahead(workflow.dag.needrun_jobs())
    if workflow.local_exec:
        # Jobs of a cluster run where no server is.
        job_server.start()
    # One line says how many jobs are done, and about how long the rest takes.
    logger.addFilter(RunProgress(job.rule.name for job in workflow.dag.needrun_jobs()))


def at_success(workflow: Any) -> None:
    """Say the answer."""
    if workflow.is_main_process:
        _opened[0].say_answer(workflow.dag.finished_jobs)


def at_error(workflow: Any, log: Iterable[str]) -> None:
    """Show what was made, and the fault last.

    Args:
        log: Snakemake's own logs of this run.
    """
    at_success(workflow)
    print(account(log), file=sys.stderr)
