"""The line about a whole run, from the records that Snakemake logs."""

from __future__ import annotations

import logging
from typing import Any

from harness.base.run_progress import RunProgress


def said(progress: RunProgress, **told: Any) -> str:
    record = logging.makeLogRecord({"msg": None, **told})
    assert progress.filter(record)
    return record.getMessage()


def test_the_rest_is_told_by_what_jobs_of_the_same_rule_took() -> None:
    now = [0.0]
    rules = ["train"] * 2 + ["generate"] * 3 + ["table"]
    progress = RunProgress(rules, lambda: now[0])

    def do(job_id: int, rule: str, seconds: float, done: int) -> str:
        said(progress, event="job_info", jobid=job_id, rule_name=rule)
        now[0] += seconds
        said(progress, event="job_finished", job_id=job_id)
        return said(progress, event="progress", done=done, total=len(rules))

    # Of rules that have no finished job, jobs are as long as all were on average.
    assert do(1, "train", 300.0, 1) == "1 of 6 jobs done, about 25 min left"
    # One more training of 300 s, two generations of 60 s, a table of (300 + 60) / 2 s.
    assert do(2, "generate", 60.0, 2) == "2 of 6 jobs done, about 10 min left"
    do(3, "train", 300.0, 3)
    do(4, "generate", 60.0, 4)
    do(5, "table", 2.0, 5)
    assert do(6, "generate", 60.0, 6) == "6 of 6 jobs done in 13 min 2 s"


def test_jobs_that_run_side_by_side_shorten_the_rest() -> None:
    now = [0.0]
    progress = RunProgress(["generate"] * 8, lambda: now[0])
    for job_id in (1, 2):
        said(progress, event="job_info", jobid=job_id, rule_name="generate")
    now[0] = 600.0
    for job_id in (1, 2):
        said(progress, event="job_finished", job_id=job_id)
    line = said(progress, event="progress", done=2, total=8)
    assert line == "2 of 8 jobs done, about 30 min left"


def test_other_records_pass_as_they_are() -> None:
    assert said(RunProgress([]), msg="anything", event=None) == "anything"
    assert said(RunProgress([]), msg="a job of another run", event="job_finished", job_id=7)
