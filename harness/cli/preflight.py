"""``python -m harness preflight < LINES``: check jobs before the first of them starts."""

from __future__ import annotations

import sys

from harness.stages import preflight


def run(processes: int) -> None:
    """Check the jobs on standard input: a verb, a tab and a job as JSON in each line.

    Args:
        processes: those that will train together.

    Raises:
        ValueError, FileNotFoundError: one of the jobs cannot be carried out.
    """
    preflight.run(sys.stdin, processes)
