"""Partial results survive kills and power cuts, and have one process at work in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import pytest
from paths import REPOSITORY
from PIL import Image

from harness.results.image_files import is_whole_png
from harness.results.resume import Work
from hypernoise.durable_files import partial_path

#: Is at work in a folder until it is told to finish.
OTHER = """
import os, sys
from pathlib import Path
from harness.results.resume import Work
os.chdir(sys.argv[1])
work = Work("work", "same", "out")
work.add([{"a": 1}])
print("at work", flush=True)
sys.stdin.readline()
Path("out").write_text("made")
work.remove()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", OTHER, str(Path.cwd())]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"at work\n"
        yield process
        process.kill()


def soon(act: Callable[[], object]) -> None:
    Timer(0.2, act).start()


def test_the_same_job_waits_for_another_process_that_then_has_done_it(
    other: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    soon(lambda: other.communicate(b"\n"))
    work = Work("work", "same", "out")
    assert f"work: waiting for process {other.pid} on " in capsys.readouterr().err
    assert work.is_done
    assert [path.name for path in Path.cwd().iterdir()] == ["out"]


def test_the_same_job_goes_on_where_another_process_was_killed(
    other: subprocess.Popen[bytes],
) -> None:
    soon(other.kill)
    work = Work("work", "same", "out")
    assert not work.is_done
    assert work.rows() == [{"a": 1}]


def test_another_job_waits_too_and_then_has_its_own_work(other: subprocess.Popen[bytes]) -> None:
    soon(lambda: other.communicate(b"\n"))
    work = Work("work", "another", "out")
    assert not work.is_done
    assert work.rows() == []


@pytest.mark.parametrize("damaged", ["", "{", "[]", '"identity"', None])
def test_work_of_nobody_knows_which_job_is_moved_aside_not_lost(
    damaged: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    Work("work", "same").add([{"a": 1}])
    job = Path("work", "job.json")
    job.unlink() if damaged is None else job.write_text(damaged)
    assert Work("work", "same").rows() == []
    (aside,) = Path.cwd().glob(".work.*.damaged")
    assert (aside / "rows.jsonl").read_text() == '{"a": 1}\n'
    assert str(aside.name) in capsys.readouterr().err


def test_the_file_of_a_job_is_written_once() -> None:
    Work("work", "same")
    before = Path("work", "job.json").stat()
    Work("work", "same")
    assert Path("work", "job.json").stat() == before


def test_a_damaged_row_is_told_and_no_other_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    work = Work("work", "same")
    work.add([{"a": 1}, {"a": 2}, {"a": 3}])
    rows = Path("work", "rows.jsonl")
    rows.write_bytes(rows.read_bytes().replace(b'{"a": 2}', b"\0\0\0\xff\0\0\0\0"))
    assert work.rows() == [{"a": 1}, {"a": 3}]
    assert "1 damaged rows, whose work is done again" in capsys.readouterr().err


def test_a_png_that_a_power_cut_left_short_or_empty_is_none() -> None:
    path = Path("image.png")
    assert not is_whole_png(path)
    Image.new("RGB", (8, 8)).save(path)
    assert is_whole_png(path)
    whole = path.read_bytes()
    for part in (b"", whole[:-1], whole[:20]):
        path.write_bytes(part)
        assert not is_whole_png(path)


def test_no_two_writers_have_the_same_name_for_what_is_unfinished() -> None:
    names = {partial_path(Path("a")).name for _ in range(9)}
    assert len(names) == 9
    assert all(name.startswith(".a.") and name.endswith(".partial") for name in names)
