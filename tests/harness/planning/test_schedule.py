"""How long jobs take on some GPUs."""

from __future__ import annotations

import pytest

from harness.planning.schedule import Task, longest, makespan


def jobs(**tasks: Task[str]) -> dict[str, Task[str]]:
    return tasks


def test_jobs_that_wait_for_nothing_share_the_gpus() -> None:
    tasks = jobs(a=Task(6.0, 1), b=Task(4.0, 1), c=Task(2.0, 1))
    assert [makespan(tasks, n) for n in (1, 2, 8)] == [12.0, 6.0, 6.0]


def test_no_number_of_gpus_shortens_a_chain_of_jobs() -> None:
    tasks = jobs(train=Task(5.0, 1), draw=Task(3.0, 1, 1, ("train",)), other=Task(4.0, 1))
    assert makespan(tasks, 64) == 8.0
    assert longest(tasks) == ["train", "draw"]
    # What most time depends on begins first, or the chain would end at 12.
    assert makespan(jobs(other=tasks["other"], train=tasks["train"], draw=tasks["draw"]), 2) == 8.0


def test_shards_cut_what_can_be_cut_and_leave_the_rest_whole() -> None:
    tasks = jobs(train=Task(5.0, 1), draw=Task(8.0, 1, 100, ("train",)))
    assert makespan(tasks, 4) == 13.0
    assert makespan(tasks, 4, sharded=True) == 7.0
    assert makespan(tasks, 1, sharded=True) == 13.0
    assert makespan(jobs(draw=Task(8.0, 1, 2)), 64, sharded=True) == 4.0


def test_a_job_for_more_gpus_than_there_are_takes_all_for_longer() -> None:
    tasks = jobs(train=Task(10.0, 6), draw=Task(1.0, 1))
    assert makespan(tasks, 3) == 21.0
    assert makespan(tasks, 8) == 10.0
    with pytest.raises(ValueError, match="at least one GPU, got 0"):
        makespan(tasks, 0)


def test_jobs_without_a_gpu_take_no_time_and_still_keep_order() -> None:
    tasks = jobs(
        draw=Task(2.0, 1), table=Task(0.0, 0, 1, ("draw",)), more=Task(1.0, 1, 1, ("table",))
    )
    assert makespan(tasks, 1) == 3.0
    assert makespan({}, 1) == 0.0
