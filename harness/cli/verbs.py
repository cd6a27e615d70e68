"""The verbs of ``python -m harness``: those that take a job, and those with options of their own.

Standard library only, so that ``--help`` is quick: what a verb does is named, not imported.
"""

from __future__ import annotations

import math
import re
from argparse import Action, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from harness.base.own_code import shipped


class JobVerb(NamedTuple):
    """A verb of the workflow: ``run(job)``, or ``check(job)``, of a module of the harness.

    One with ``own_process`` is never forked from a server (:mod:`harness.cli.job_server`).
    """

    module: str
    help: str
    has_threads: bool = True
    has_check: bool = True
    own_process: bool = False


class Option(NamedTuple):
    """What ``add_argument`` of a parser gets."""

    name: str
    given: dict[str, Any]


class Command(NamedTuple):
    """A verb with options of its own.

    Attributes:
        help: one line.
        target: "package.module:function"; it gets the options by keyword and returns None, or the
            exit code. ValueError and OSError become a one-line message.
        options: in the order of the help.
        in_server: whether a run that asks for it lets its server do it.
        passes_on: whether words that no option takes are its ``arguments``, in their order.
    """

    help: str
    target: str
    options: tuple[Option, ...]
    in_server: bool = False
    passes_on: bool = False


def option(name: str, help: str = "", **given: Any) -> Option:
    """An option; ``given`` is what else ``add_argument`` knows."""
    return Option(name, {"help": help, **given})


def _of_frames(what: str) -> JobVerb:
    # Tables and figures take no long work that a check could spare.
    return JobVerb("report.make", what, has_threads=False, has_check=False)


def _numbers(name: str, help: str, default: tuple[int, ...] = ()) -> Option:
    return option(name, help, nargs="+", type=at_least(1), metavar="N", default=default)


def _words(name: str, help: str, default: tuple[str, ...] = (), **given: Any) -> Option:
    return option(name, help, nargs="+", default=default, **given)


def _number(name: str, help: str, default: int | None, least: int = 1) -> Option:
    return option(name, help, type=at_least(least), metavar="N", default=default)


def at_least(least: int) -> Callable[[str], int]:
    """What reads a whole number of an option; the parser shows what it says."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or int(text) < least:
            raise ArgumentTypeError(f"must be a whole number, at least {least}, got {text!r}")
        return int(text)

    return read


def _price(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"must be a number, at least 0, got {text!r}")
    return value


class _Each(Action):
    """An option that may be given several times, each with one value; they replace its default.

    With several values at once it would take the words behind it, too.
    """

    def __call__(self, parser: Any, namespace: Any, value: Any, option: Any = None) -> None:
        given = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(() if given is self.default else given), value])


#: The rows of Pick-a-Pic v2 without their images, at the commit that has all training rows.
_PICKS = "yuvalkirstain/pickapic_v2_no_images"
_PICKS_COMMIT = "30b95c596f97e0ccb7bf8164fed302c680d598f3"
#: Texts, which the option's type reads: a config that is not here is that of the installed code.
_CONFIG, _PAPER = "workflows/config/tiny.yaml", "workflows/config/paper.yaml"
_COMPONENTS = option(
    "--components",
    "where components are declared; for a folder more, again: the first one is the workflow's",
    type=Path,
    action=_Each,
    default=[Path("workflows")],
    metavar="FOLDER",
)
#: Name of the verb -> what does its jobs (:data:`harness.experiment.jobs.JOBS` has their classes).
JOB_VERBS: dict[str, JobVerb] = {
    "pretrain": JobVerb(
        "stages.pretrain", "train a tiny generator or matcher of the embedded world from scratch"
    ),
    "train": JobVerb(
        "stages.train", "train a noise network, or fine-tune the generator, on a reward"
    ),
    "match": JobVerb(
        "stages.stop_at_reward",
        "pick the fine-tuning checkpoint with the noise network's validation reward",
        has_threads=False,
    ),
    "audit": JobVerb("stages.audit", "measure the KL terms that a noise network's training drops"),
    "generate": JobVerb("stages.generate", "make a benchmark's images with one method"),
    "score": JobVerb("stages.score", "score images with a benchmark's scorer and with rewards"),
    "pairs": JobVerb("stages.compare_images", "compare the images of each prompt with one another"),
    "fidelity": JobVerb(
        "stages.fidelity", "measure how far each method's images are from the generator's own"
    ),
    "overlap": JobVerb(
        "stages.overlap",
        "check that no prompt is both trained and evaluated on",
        has_threads=False,
    ),
    # What is timed, and whose memory is measured, shares no pages with a server.
    "profile": JobVerb(
        "timing.profile",
        "time methods against one another; with --model: measure what they cost",
        own_process=True,
    ),
    "table": _of_frames("make a table from frames"),
    "figure": _of_frames("make a figure from frames"),
    "origins": _of_frames("write down which code, machine and settings results come from"),
    "gallery": _of_frames("lay images and their scores out as a page to look through"),
}
#: Name of the verb -> its command.
COMMANDS: dict[str, Command] = {
    "init": Command(
        "lay down a project: Snakefile, workflows, profiles",
        "harness.cli.project:init",
        (option("folder", "new, or without any of these", type=Path, metavar="DIR"),),
    ),
    "run": Command(
        "run Snakemake here, with its own arguments and, unless they say how many, all cores",
        "harness.cli.project:run",
        (),
        passes_on=True,
    ),
    "list": Command(
        "show every component that can be named, and its file",
        "harness.cli.list_components:run",
        (
            option(
                "kind",
                "only these; all without",
                nargs="?",
                choices=("models", "rewards", "methods", "benchmarks", "tables"),
            ),
            _COMPONENTS,
        ),
    ),
    "adapter": Command(
        "say what an adapter that one has is, and how it is declared as a method",
        "harness.cli.adapter:run",
        (
            option("adapter", "folder, safetensors file, or owner/name@COMMIT", metavar="FOLDER"),
            option("--model", "that it is for", required=True, metavar="NAME"),
            option("--file", "the adapter's, where there are several", default="", metavar="NAME"),
            _COMPONENTS,
        ),
    ),
    "card": Command(
        "write a trained network as a folder for the hub, with a model card, and push it",
        "harness.cli.card:run",
        (
            option("network", "a training's folder, or a checkpoint's", type=Path),
            option("--out", "gets it (default: %(default)s)", type=Path, default=Path("hub")),
            option("--results", "the run's, of table and grid (default: its own)", type=Path),
            option(
                "--base", "OWNER/NAME@COMMIT in the hub, if a folder", default="", metavar="NAME"
            ),
            option("--push", "repository to write to", default="", metavar="OWNER/NAME"),
            option("--public", "let everybody see that repository", action="store_true"),
            option("--dry-run", "say what would be pushed", action="store_true", dest="dry"),
        ),
    ),
    "serve": Command(
        "serve rewards and benchmarks over HTTP, for programs whose environment is not this one",
        "harness.cli.serve:run",
        (
            _words("--rewards", "or benchmarks, by their names", required=True, metavar="NAME"),
            option("--host", "address to listen at (default: %(default)s)", default="127.0.0.1"),
            _number("--port", "0 takes a free one (default: %(default)s)", 8765, least=0),
            option("--token-file", "holds what callers have to send", type=Path),
            _number("--batch-size", "images scored together (default: %(default)s)", 32),
            _number("--images", "of one request at most (default: %(default)s)", 256),
            _number("--megabytes", "of one request at most (default: %(default)s)", 256),
            _COMPONENTS,
        ),
    ),
    "explain": Command(
        "show every resolved option of a run, and what gives it",
        "harness.cli.explain:run",
        (
            option("model", "e.g. tiny_sd", metavar="MODEL"),
            option("method", "e.g. reno or hypernoise:rank=32", metavar="METHOD"),
            option("reward", "what is trained on or searched", metavar="REWARD"),
            option("--configfile", "of the run", type=shipped, default=_CONFIG, metavar="FILE"),
            _COMPONENTS,
        ),
    ),
    "rehearse": Command(
        "run a whole config with hardly any work, and with stand-ins of all that is downloaded",
        "harness.cli.rehearse:run",
        (
            option("--configfile", "of the run", type=shipped, default=_PAPER, metavar="FILE"),
            _words("--tables", "only these (default: the config's)", metavar="NAME"),
            _words("--models", "only these (default: the config's)", metavar="NAME"),
            option(
                "--out",
                "gets caches, declarations and results",
                type=Path,
                default=Path("rehearsal"),
                metavar="FOLDER",
            ),
            _number("--cores", "for Snakemake", 2),
            option("--resume", "go on with what is there", action="store_true"),
            _COMPONENTS,
        ),
    ),
    "preflight": Command(
        "check jobs, one a line on standard input, before the first of them starts",
        "harness.cli.preflight:command",
        (_number("--processes", "that will train together", 1),),
    ),
    "geneval": Command(
        "score a folder of images in GenEval's layout, or summarise its results",
        "harness.cli.geneval:run",
        (
            option(
                "images", "folder in GenEval's layout, or a results.jsonl to summarise", type=Path
            ),
            option("--out", "default: results.jsonl, if there is none", type=Path),
            option(
                "--detector",
                "folder or hub name of Mask2Former (default: the published one); shapeworld; or "
                "package.module:function that gives an Evaluator",
                default="",
            ),
            option("--revision", "commit of the detector's hub repository", default=""),
            option("--clip", "file that tells colours, if not the published", default=""),
            _number("--prompts", "how many prompts there must be", None),
            _number("--samples", "how many images each prompt must have", None),
        ),
    ),
    "export-geneval": Command(
        "write a method's images into GenEval's layout, for other tools",
        "harness.cli.geneval_folder:export",
        (
            option("images", "images.parquet of one method", type=Path),
            option("out", "folder to make", type=Path),
        ),
    ),
    "pin": Command(
        "list what would be downloaded without a hash or commit, and pin it",
        "harness.cli.pin:run",
        (
            option("names", "only these (default: all)", nargs="*", metavar="COMPONENT"),
            option(
                "--write",
                "ask the publishers what they serve now, and trust it from then on",
                action="store_true",
            ),
            option("--configfile", "only what it needs", type=shipped, metavar="FILE"),
            _COMPONENTS,
        ),
    ),
    "plan": Command(
        "say what a config's run will take: GPU hours, schedule, disk, downloads, price",
        "harness.cli.plan:run",
        (
            option("--configfile", "of the run", type=shipped, default=_CONFIG, metavar="FILE"),
            option("--gpu", "a folder of --snapshots; this machine's without", default=""),
            option(
                "--snapshots",
                "folder of what `make snapshot` measured",
                type=Path,
                default=Path("results/snapshots"),
                metavar="FOLDER",
            ),
            option("--price", "of a GPU hour", type=_price, metavar="X"),
            _COMPONENTS,
        ),
    ),
    "pick-a-pic": Command(
        "fetch Pick-a-Pic's prompts: one column of its files, without doubles and evaluated ones",
        "harness.cli.pick_a_pic:run",
        (
            option("--repository", "of the hub's data sets (default: %(default)s)", default=_PICKS),
            option("--revision", "its commit (default: %(default)s)", default=_PICKS_COMMIT),
            option("--files", "its files (default: %(default)s)", default="data/train-*.parquet"),
            option("--column", "their column (default: %(default)s)", default="caption"),
            _words(
                "--apart-from",
                "targets of prompts that are evaluated on (default: the paper's)",
                (
                    "harness.benchmarks.geneval_coco:prompts",
                    "harness.benchmarks.training_prompts:t2i_compbench_val",
                ),
                metavar="TARGET",
            ),
            option("--out", "default: where training looks for it", type=Path, metavar="FILE"),
        ),
    ),
    "compare": Command(
        "say what moved between two runs, beyond noise or not, and what was done differently",
        "harness.cli.compare:run",
        (
            option("a", "results folder of the earlier run", metavar="RESULTS_A"),
            option("b", "results folder of the later run", metavar="RESULTS_B"),
            option("--out", "write PATH.md, PATH.csv and PATH.json, too", metavar="PATH"),
        ),
    ),
    "summary": Command(
        "say what a run's answer is, and write the first page of its results",
        "harness.report.front_page:run",
        (option("results", "a results folder", nargs="?", default="results", metavar="RESULTS"),),
        in_server=True,
    ),
    "verify": Command(
        "recompute tables of a results folder, redraw figures, and say what cannot be traced",
        "harness.cli.verify:run",
        (
            option("results", "a results folder", metavar="RESULTS"),
            _number("--rescore", "images of every frame of scores to measure again", 0, 0),
            _number("--regenerate", "images of every method to generate again", 0, 0),
            _number("--seed", "of the draw of these images", 0, 0),
            _COMPONENTS,
        ),
    ),
    "profile": Command(
        "measure what methods cost, stage by stage",
        "harness.cli.profile:run",
        (
            option("--model", "models, e.g. sd_turbo_random", nargs="+", metavar="NAME"),
            _words(
                "--methods",
                "methods that take turns; with arguments as in hypernoise:merged=true",
                ("base", "hypernoise"),
                metavar="METHOD",
            ),
            _numbers("--batch-sizes", "images per call", (1,)),
            _numbers("--steps", "sampling steps; the model's own without"),
            _numbers("--sizes-px", "image sizes; the model's own without"),
            _words("--precisions", "float32, bfloat16, float16; default: its own"),
            _words("--modes", "eager, compiled, cuda_graphs", ("eager",)),
            option("--reward", "what searches ask", default="", metavar="NAME"),
            option("--benchmark", "its prompts", default="shapeworld", metavar="NAME"),
            _number("--repeats", "calls per method", 20),
            _number("--rank", "of untrained LoRA", 8),
            _number("--threads", "torch's threads", 1),
            option("--device", "cpu or cuda; a GPU where there is one", default=""),
            option(
                "--out",
                "gets the rows",
                type=Path,
                default=Path("results/timings/by_hand"),
                metavar="FOLDER",
            ),
            _COMPONENTS,
        ),
    ),
}
