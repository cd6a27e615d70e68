"""The benchmarks of `make bench` run; how fast is not a test's business."""

from __future__ import annotations

import subprocess
import sys

from paths import REPOSITORY

ROOT = REPOSITORY


def test_the_benchmarks_run_when_asked_for_and_only_then() -> None:
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-disable"]
    suite = "tests/benchmarks/bench_speed.py"
    done = subprocess.run([*asked, suite], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "21 passed" in done.stdout
    # The default run collects by file name.
    assert not list((ROOT / "tests" / "benchmarks").glob("test_*.py"))
    assert suite in (ROOT / "Makefile").read_text(encoding="utf-8")
