"""What became of a run's failed jobs, from Snakemake's log and their own: which job, how it ended,
and what it said last."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from pathlib import Path

#: Of Snakemake's log: a job that starts, one that fails, and how its command ended.
_STARTED = re.compile(r"^Job (\d+): (.+)$", re.MULTILINE)
_FAILED = re.compile(
    r"^Error in rule (?P<rule>\S+?)(?:, jobid: \d+)?:\n(?:.*\n)*?"
    r" *jobid: (?P<id>\d+)\n(?:.*\n)*? *log: (?P<log>\S+) \(check log",
    re.MULTILINE,
)
_ENDED = re.compile(r"\| tee (\S+)' returned non-zero exit status (\d+)\.")
#: A line that tells a fault: of the harness, or the last of a traceback.
_ERROR = re.compile(r"error: |(?:\w+\.)*\w+(?:Error|Exception|Interrupt|Exit)\b(?::|$)")
#: A shell's exit code of a command that a signal ended is this and the signal's number.
_SIGNALLED = 128


def account(snakemake_logs: Iterable[str]) -> str:
    """A line for each failed job: its name, its exit code, its last line that tells an error, and
    its log. Snakemake's own account of a failure hides all of them.

    Args:
        snakemake_logs: Snakemake's own logs of the run.
    """
    text = "".join(Path(file).read_text(encoding="utf-8") for file in snakemake_logs)
    names, codes = dict(_STARTED.findall(text)), dict(_ENDED.findall(text))
    lines = {}
    for failed in _FAILED.finditer(text):
        log = failed["log"]
        name = names.get(failed["id"], failed["rule"])
        code = f" {code_in_words(int(codes[log]))}" if log in codes else ""
        lines[name, log] = f"failed: {name}{code}: {last_error(Path(log))} ({log})"
    return "\n".join(lines.values())


def code_in_words(code: int) -> str:
    """An exit code, and what it says where a signal ended the job."""
    said = f"(exit code {code})"
    if code <= _SIGNALLED:
        return said
    try:
        name = signal.Signals(code - _SIGNALLED).name
    except ValueError:
        return said
    why = "; the system kills what takes too much memory" if name == "SIGKILL" else ""
    return f"(exit code {code}: ended by {name}{why})"


def last_error(log: Path) -> str:
    """The last line of a log that tells an error, or what else can be said of it."""
    if not log.is_file():
        return "it has no log"
    # An error is not always the last line: launchers of several processes add their own account,
    # and bars of progress end in carriage returns.
    lines = re.split(r"[\r\n]+", log.read_text(encoding="utf-8", errors="replace").strip())
    told = next((line for line in reversed(lines) if _ERROR.match(line)), "")
    return told or f"it told no error, and last said {lines[-1]!r}"
