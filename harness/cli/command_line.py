"""``python -m harness VERB ...``, or ``hypernoise VERB ...``: argument parsing, nothing else.

Verbs of the workflow take ``--job JSON_OR_PATH``, the others their own options
(:mod:`harness.cli.verbs`). A verb may be both: with ``--job`` it is the workflow's. Nothing heavy
is imported before the verb is known.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from harness.base import machine_faults
from harness.base.atomic_files import check_place
from harness.base.import_strings import resolve
from harness.base.parents import end_with_run
from harness.cli.job_client import handed_over
from harness.cli.verbs import COMMANDS, JOB_VERBS, at_least
from hypernoise.errors import Mendable

#: The file descriptor of what is printed.
_OUTPUT = 1
_OUT_OF_MEMORY = (
    " Training: make batch_size smaller, or set gradient_checkpointing. Otherwise a single image "
    "does not fit: give the model vae_savings."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0, a command's own (1 where verify found a fault), or 2
    for what cannot be carried out."""
    parser = _parser()
    parsed, others = parser.parse_known_args(arguments)
    options = vars(parsed)
    verb, job = options.pop("verb"), options.pop("job", None)
    if verb in COMMANDS and COMMANDS[verb].passes_on:
        options["arguments"] = others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    data, traceback = options.pop("data"), options.pop("traceback")
    if data:
        from harness.build.data_files import VARIABLE

        # Jobs of this process read the variable.
        os.environ[VARIABLE] = data
    try:
        if job is not None:
            from harness.cli.job_files import job_of

            end_with_run()
            job = job_of(verb, job)
            if out := getattr(job, "out", ""):
                check_place(out)
            if JOB_VERBS[verb].has_threads and options.get("threads") and verb not in COMMANDS:
                job = replace(job, threads=options["threads"])
            function = "check" if options.get("check") else "run"
            resolve(f"harness.{JOB_VERBS[verb].module}:{function}")(job)
            return 0
        options.pop("check", None)
        return resolve(COMMANDS[verb].target)(**options) or 0
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            output = select.poll()
            output.register(_OUTPUT, 0)
            # Of another pipe, it is an error like others.
            if output.poll(0):
                # Who read the output, as `head` does, has read enough; the rest goes nowhere.
                os.dup2(os.open(os.devnull, os.O_WRONLY), _OUTPUT)
                return 1
        remedy = _remedy(error, [getattr(job, "work", ""), getattr(job, "out", ""), "."])
        if remedy is None or traceback:
            raise
        print(f"error: {' '.join(f'{error}{remedy}'.split())}", file=sys.stderr)
        return 2


def _remedy(error: Exception, places: Sequence[str]) -> str | None:
    """What to add to the message of an error that the user can mend; None if it is a fault of
    ours, which is shown with its traceback. Places are what was to be written."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return _OUT_OF_MEMORY
    if (advice := machine_faults.advice(error, places)) is not None:
        return advice
    if isinstance(error, Mendable):
        return ""
    if isinstance(error, (ValueError, OSError)):
        from harness.experiment import pins

        return pins.advice(error)
    return None


def _parser() -> argparse.ArgumentParser:
    is_script = Path(sys.argv[0]).stem == "hypernoise"
    parser = argparse.ArgumentParser(
        prog="hypernoise" if is_script else "python -m harness",
        description="Generate, score, time and compare.",
    )
    ours = f"hypernoise {version('hypernoise')}"
    parser.add_argument("--version", action="version", version=ours)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, of_job in JOB_VERBS.items():
        sub = verbs.add_parser(verb, help=of_job.help, description=of_job.help)
        sub.add_argument(
            "--job",
            required=verb not in COMMANDS,
            metavar="JSON_OR_PATH",
            help="its job (harness.experiment.jobs) as JSON, or the file that holds it",
        )
        if of_job.has_threads and verb not in COMMANDS:
            sub.add_argument("--threads", type=at_least(1), help="torch's threads, not the job's")
        if of_job.has_check:
            sub.add_argument("--check", action="store_true", help="check the job, do no work")
    for verb, command in COMMANDS.items():
        own = verbs.choices.get(verb)
        own = own or verbs.add_parser(verb, help=command.help, description=command.help)
        for name, given in command.options:
            own.add_argument(name, **given)
    for sub in verbs.choices.values():
        sub.add_argument("--data", metavar="FOLDER", help="published files, before HYPERNOISE_DATA")
        sub.add_argument("--traceback", action="store_true", help="show where an error was raised")
    return parser


def start() -> int:
    """Let the run's server do a job, or do it here."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    of_job, command = JOB_VERBS.get(verb), COMMANDS.get(verb)
    is_job = of_job and not of_job.own_process and "--job" in sys.argv
    if is_job or (command and command.in_server):
        code = handed_over(sys.argv[1:])
        if code is not None:
            return code
    return main()
