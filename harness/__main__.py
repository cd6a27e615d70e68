"""``python -m harness VERB ...``: argument parsing, nothing else.

Verbs of the workflow take ``--job JSON_OR_PATH``, the others (:mod:`harness.cli.commands`) their
own options. A verb may be both: with ``--job`` it is the workflow's.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace

from harness.base.import_strings import resolve
from harness.cli.commands import COMMANDS
from harness.experiment import pins
from harness.experiment.jobs import JOBS, load_job

_MODULES = {
    "match": "stages.stop_at_reward",
    "pairs": "stages.compare_images",
    "profile": "timing.profile",
    "table": "report.make",
    "figure": "report.make",
    "gallery": "report.make",
    "origins": "report.make",
}
_PAGES = ("table", "figure", "gallery", "origins")
_HELP = {
    "pretrain": "train a tiny generator or matcher of the embedded world from scratch",
    "train": "train a noise network, or fine-tune the generator, on a reward",
    "match": "pick the fine-tuning checkpoint with the noise network's validation reward",
    "audit": "measure the KL terms that a noise network's training drops",
    "generate": "make a benchmark's images with one method",
    "score": "score images with a benchmark's scorer and with rewards",
    "pairs": "compare the images of each prompt with one another",
    "overlap": "check that no prompt is both trained and evaluated on",
    "profile": "time methods against one another; with --model: measure what they cost",
    "table": "make a table from frames",
    "figure": "make a figure from frames",
    "origins": "write down which code, machine and settings results come from",
    "gallery": "lay images and their scores out as a page to look through",
}
#: Errors that are known by name only, so that no module is imported for them, and what helps.
_REMEDIES = {
    "TrainingDiverged": "",
    "OutOfMemoryError": "Training: make batch_size smaller, or set gradient_checkpointing. "
    "Otherwise a single image does not fit: give the model vae_savings.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0, a command's own (1 where verify or snapshot found a
    fault), or 2 for what cannot be carried out."""
    options = _parser().parse_args(arguments)
    if options.data:
        _use_data(options.data)
    try:
        if options.verb in COMMANDS and getattr(options, "job", None) is None:
            return _command(options)
        _job(options)
    except (ValueError, OSError) as error:
        return _fail(error, options.traceback, pins.advice(error))
    except RuntimeError as error:
        # What the user can mend; any other RuntimeError is ours.
        if type(error).__name__ not in _REMEDIES:
            raise
        return _fail(error, options.traceback, f" {_REMEDIES[type(error).__name__]}")
    return 0


def _command(options: argparse.Namespace) -> int:
    not_its_own = ("verb", "traceback", "job", "check", "data")
    given = {k: v for k, v in vars(options).items() if k not in not_its_own}
    return resolve(COMMANDS[options.verb].target)(**given) or 0


def _job(options: argparse.Namespace) -> None:
    job = load_job(options.verb, options.job)
    if getattr(options, "threads", None):
        job = replace(job, threads=options.threads)
    module = f"harness.{_MODULES.get(options.verb, f'stages.{options.verb}')}"
    resolve(f"{module}:{'check' if getattr(options, 'check', False) else 'run'}")(job)


def _use_data(folder: str) -> None:
    # Not at the top: it brings torch. Jobs of this process read the variable.
    from harness.build.data_files import VARIABLE

    os.environ[VARIABLE] = folder


def _fail(error: Exception, traceback: bool, remedy: str = "") -> int:
    if traceback:
        raise error
    print(f"error: {' '.join(f'{error}{remedy}'.split())}", file=sys.stderr)
    return 2


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness", description="Generate, score, time and compare."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in JOBS:
        sub = verbs.add_parser(verb, help=_HELP[verb], description=_HELP[verb])
        sub.add_argument(
            "--job",
            required=verb not in COMMANDS,
            metavar="JSON_OR_PATH",
            help=f"{JOBS[verb].__name__} (harness.experiment.jobs) as JSON, or its file",
        )
        has_threads = any(entry.name == "threads" for entry in fields(JOBS[verb]))
        if has_threads and verb not in COMMANDS:
            sub.add_argument("--threads", type=_positive, help="torch's threads, not the job's")
        # Tables and figures take no long work that a check could spare.
        if verb not in _PAGES:
            sub.add_argument("--check", action="store_true", help="check the job, do no work")
    for verb, command in COMMANDS.items():
        own = verbs.choices.get(verb)
        own = own or verbs.add_parser(verb, help=command.help, description=command.help)
        command.add_options(own)
    for sub in verbs.choices.values():
        sub.add_argument("--data", metavar="FOLDER", help="published files, before HYPERNOISE_DATA")
        sub.add_argument("--traceback", action="store_true", help="show where an error was raised")
    return parser


if __name__ == "__main__":
    sys.exit(main())
