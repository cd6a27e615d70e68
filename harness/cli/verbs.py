"""The verbs of ``python -m harness``: those that take a job, and those with options of their own.

Standard library only, so that ``--help`` is quick: what a verb does is named, not imported.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class JobVerb(NamedTuple):
    """A verb of the workflow: ``run(job)``, or ``check(job)``, of a module of the harness."""

    module: str
    help: str
    has_threads: bool = True
    has_check: bool = True


@dataclass(frozen=True)
class Command:
    """A verb with options of its own.

    Attributes:
        help: one line.
        target: "package.module:function"; it gets what ``add_options`` declared by keyword and
            returns None, or the exit code. ValueError and OSError become a one-line message.
        add_options: declares the verb's arguments.
    """

    help: str
    target: str
    add_options: Callable[[ArgumentParser], None]


def _of_frames(what: str) -> JobVerb:
    # Tables and figures take no long work that a check could spare.
    return JobVerb("report.make", what, has_threads=False, has_check=False)


def _geneval(parser: ArgumentParser) -> None:
    parser.add_argument(
        "images", type=Path, help="folder in GenEval's layout, or a results.jsonl to summarise"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("results.jsonl"), help="default: %(default)s"
    )
    parser.add_argument(
        "--detector",
        default="",
        help="folder or hub name of Mask2Former (default: the published one); shapeworld; or "
        "package.module:function that gives an Evaluator",
    )
    parser.add_argument("--revision", default="", help="commit of the detector's hub repository")
    parser.add_argument("--clip", default="", help="file that tells colours, if not the published")
    parser.add_argument("--prompts", type=int, help="how many prompts there must be")
    parser.add_argument("--samples", type=int, help="how many images each prompt must have")


def _export_geneval(parser: ArgumentParser) -> None:
    parser.add_argument("images", type=Path, help="images.parquet of one method")
    parser.add_argument("out", type=Path, help="folder to make")


def _pin(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="COMPONENT", help="only these (default: all)")
    parser.add_argument(
        "--write",
        action="store_true",
        help="ask the publishers what they serve now, and trust it from then on",
    )
    parser.add_argument("--configfile", type=Path, metavar="FILE", help="only what it needs")
    _components_option(parser)


def _verify(parser: ArgumentParser) -> None:
    parser.add_argument("results", metavar="RESULTS", help="a results folder")
    _components_option(parser)


def _compare(parser: ArgumentParser) -> None:
    parser.add_argument("a", metavar="RESULTS_A", help="results folder of the earlier run")
    parser.add_argument("b", metavar="RESULTS_B", help="results folder of the later run")
    parser.add_argument("--out", metavar="PATH", help="write PATH.md, PATH.csv and PATH.json, too")


def _profile_options(parser: ArgumentParser) -> None:
    many: dict[str, Any] = {"nargs": "+", "default": ()}
    numbers: dict[str, Any] = {**many, "type": int, "metavar": "N"}
    parser.add_argument("--model", nargs="+", metavar="NAME", help="models, e.g. sd_turbo_random")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        default=("base", "hypernoise"),
        help="methods that take turns; with arguments as in hypernoise:merged=true",
    )
    parser.add_argument("--batch-sizes", **{**numbers, "default": (1,)}, help="images per call")
    parser.add_argument("--steps", **numbers, help="sampling steps; the model's own without")
    parser.add_argument("--sizes-px", **numbers, help="image sizes; the model's own without")
    parser.add_argument("--precisions", **many, help="float32, bfloat16, float16; default: its own")
    parser.add_argument(
        "--modes", **{**many, "default": ("eager",)}, help="eager, compiled, cuda_graphs"
    )
    parser.add_argument("--reward", default="", metavar="NAME", help="what searches ask")
    parser.add_argument("--benchmark", default="shapeworld", metavar="NAME", help="its prompts")
    parser.add_argument("--repeats", type=int, default=20, metavar="N", help="calls per method")
    parser.add_argument("--rank", type=int, default=8, metavar="N", help="of untrained LoRA")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch's threads")
    parser.add_argument("--device", default="", help="cpu or cuda; a GPU where there is one")
    folder = Path("results/timings/by_hand")
    parser.add_argument("--out", type=Path, default=folder, metavar="FOLDER", help="gets the rows")
    _components_option(parser)


def _list(parser: ArgumentParser) -> None:
    kinds = ("models", "rewards", "methods", "benchmarks", "tables")
    parser.add_argument("kind", nargs="?", choices=kinds, help="only these; all without")
    _components_option(parser)


def _explain(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("method", metavar="METHOD", help="e.g. reno or hypernoise:rank=32")
    parser.add_argument("reward", metavar="REWARD", help="what is trained on or searched")
    parser.add_argument(
        "--configfile", type=Path, default=Path("workflows/config/tiny.yaml"), metavar="FILE"
    )


def _preflight(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="that will train together"
    )


def _components_option(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--components",
        type=Path,
        default=Path("workflows"),
        metavar="FOLDER",
        help="where components are declared",
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
    "overlap": JobVerb(
        "stages.overlap",
        "check that no prompt is both trained and evaluated on",
        has_threads=False,
    ),
    "profile": JobVerb(
        "timing.profile", "time methods against one another; with --model: measure what they cost"
    ),
    "table": _of_frames("make a table from frames"),
    "figure": _of_frames("make a figure from frames"),
    "origins": _of_frames("write down which code, machine and settings results come from"),
    "gallery": _of_frames("lay images and their scores out as a page to look through"),
}
#: Name of the verb -> its command.
COMMANDS: dict[str, Command] = {
    "list": Command(
        "show every component that can be named, and its file",
        "harness.cli.list_components:run",
        _list,
    ),
    "explain": Command(
        "show every resolved option of a run, and what gives it",
        "harness.cli.explain:run",
        _explain,
    ),
    "preflight": Command(
        "check jobs, one a line on standard input, before the first of them starts",
        "harness.cli.preflight:command",
        _preflight,
    ),
    "geneval": Command(
        "score a folder of images in GenEval's layout, or summarise its results",
        "harness.cli.geneval:run",
        _geneval,
    ),
    "export-geneval": Command(
        "write a method's images into GenEval's layout, for other tools",
        "harness.cli.geneval_folder:export",
        _export_geneval,
    ),
    "pin": Command(
        "list what would be downloaded without a hash or commit, and pin it",
        "harness.cli.pin:run",
        _pin,
    ),
    "compare": Command(
        "say what moved between two runs, beyond noise or not, and what was done differently",
        "harness.cli.compare:run",
        _compare,
    ),
    "verify": Command(
        "recompute tables of a results folder, redraw figures, and say what cannot be traced",
        "harness.cli.verify:run",
        _verify,
    ),
    "profile": Command(
        "measure what methods cost, stage by stage",
        "harness.cli.profile:run",
        _profile_options,
    ),
}
