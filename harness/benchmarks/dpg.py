"""DPG-Bench: long prompts, cut into propositions that depend on one another.

Source: ELLA, arXiv 2403.05135; ``dpg_bench/compute_dpg_bench.py`` of the authors' repository at
commit 3c228f1, which follows DSG (arXiv 2310.18235). Every proposition is asked about; one whose
parent does not hold counts as failed whatever was answered; an image's score is the share that
holds, a model's the mean over images, in percent.

Every question is asked once and its answer counted in two variants, each a metric of its own:

- ``published``: what the authors' scorer counts, and with it the paper. It passes over the
  question table's first row. That row is a proposition of the first prompt, and where others of
  the prompt depend on it the scorer fails there, reports the file's name and leaves the prompt out
  of its mean; so this metric leaves it out, by name. (The scorer looks no further than the first
  parent that failed, so it can miss the missing one; here the prompt is left out either way.)
  Parents are looked at in the table's order.
- ``corrected``: every row counts, and a proposition fails with any of its ancestors, in
  whatever order they stand.

The authors ask mPLUG-large (``damo/mplug_visual-question-answering_coco_large_en`` of
ModelScope), which generates text, and count the answer ``yes`` as yes and any other as no, on
four images per prompt. transformers has no mPLUG, so the answerer is the user's choice, and a
probability of yes above one half is a yes: another model, so other absolute numbers.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from harness.benchmarks.questions import (
    Images,
    QuestionedPrompt,
    ask,
    build_answerer,
    check_answerer,
    detail,
)
from harness.build.data_files import locate_named
from harness.results.frames import LEFT_OUT

Variant: TypeAlias = Literal["published", "corrected"]
#: What each variant's score is called.
METRICS: dict[Variant, str] = {"published": "dpg_bench", "corrected": "dpg_bench_corrected"}
#: The question table in a data folder.
NAME = "dpg_bench/dpg_bench.csv"
#: No public source with its hash was found.
QUESTIONS = (
    "https://github.com/TencentQQGYLab/ELLA/raw/3c228f1dc6c4d3cad0a47493816151a419f14db3/"
    "dpg_bench/dpg_bench.csv"
)
_COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
_NO_PARENT = 0
#: The benchmark has no tasks; its categories are those of propositions.
TASK = "dpg_bench"


@dataclass(frozen=True)
class Proposition:
    """One row of the question table.

    Attributes:
        number: within its prompt, from 1.
        parents: numbers of the propositions that it depends on.
        what: its kind and words, as ``attribute - color (key, brown)``.
        question: that asks for it.
    """

    number: int
    parents: tuple[int, ...]
    what: str
    question: str


def prompts(questions: str = QUESTIONS) -> tuple[QuestionedPrompt, ...]:
    """The prompts of the question table, in its order.

    Args:
        questions: the question table (:mod:`hypernoise.weights.pinned_files`); without a hash,
        only a local
            file is taken.

    Raises:
        ValueError: another file than the one that the hash is of, or as :func:`read_prompts`.
        FileNotFoundError: the question table cannot be had; see :mod:`harness.build.data_files`.
    """
    return tuple(read_prompts(locate_named(NAME, questions)))


def read_prompts(path: Path) -> list[QuestionedPrompt]:
    """Prompts of a question table; one that ``published`` leaves out is named on standard error.

    Of rows with the same prompt and number the last one counts, as in the original.

    Raises:
        ValueError: a column is missing or a row is faulty, or a proposition depends on one that
            its prompt has not.
    """
    rows = _rows(path)
    texts = {row["item_id"]: row["text"] for row in reversed(rows)}
    tables, read = _tables(rows, path), _tables(rows[1:], path)
    found = []
    for name, table in tables.items():
        if missing := orphans(table.values()):
            raise ValueError(
                f"{path}: propositions of prompt {name!r} depend on {missing}, which it has not"
            )
        asked = graph(list(table.values()), list(read.get(name, ())))
        if asked["left_out"]:
            print(f"{path}: prompt {name!r}: {asked['left_out']}", file=sys.stderr)
        found.append(QuestionedPrompt(name, texts[name], TASK, asked))
    return found


def _tables(rows: Iterable[Mapping[str, str]], path: Path) -> dict[str, dict[int, Proposition]]:
    """Prompt -> number -> proposition."""
    tables: dict[str, dict[int, Proposition]] = {}
    for row in rows:
        said = _proposition(row, path)
        tables.setdefault(row["item_id"], {})[said.number] = said
    return tables


def orphans(propositions: Iterable[Proposition]) -> list[int]:
    """Numbers that propositions depend on and that none of them has."""
    said = list(propositions)
    numbers = {proposition.number for proposition in said}
    return sorted({parent for p in said for parent in p.parents if parent not in numbers})


def graph(
    propositions: Sequence[Proposition], published: Sequence[int] | None = None
) -> dict[str, Any]:
    """Propositions as a prompt's metadata, of JSON values.

    Args:
        published: numbers of those that the published scorer reads, in its order; None for all.

    Returns:
        ``propositions``, ``published``, and ``left_out``: why the published scorer leaves the
        prompt out, empty where it does not.
    """
    rows = [[p.number, list(p.parents), p.what, p.question] for p in propositions]
    read = [p.number for p in propositions] if published is None else list(published)
    missing = orphans(p for p in propositions if p.number in read)
    why = f"its propositions depend on {missing}, passed over" if missing else ""
    why = why if read else "none of its propositions is read"
    left_out = f"the published scorer leaves it out: {why}" if why else ""
    return {"propositions": rows, "published": read, "left_out": left_out}


def score(
    images: Images, metadata: Sequence[Mapping[str, Any]], answerer: Mapping[str, Any]
) -> list[dict[str, tuple[float, str]]]:
    """DPG-Bench per image: by variant the share of propositions that hold, in percent, and each
    answer.

    Args:
        images: [N, 3, H, W] in [0, 1].
        metadata: N prompts as :func:`graph` gives them.
        answerer: see :mod:`harness.benchmarks.questions`.
    """
    graphs = [[_from_row(row) for row in record["propositions"]] for record in metadata]
    questions = [[proposition.question for proposition in those] for those in graphs]
    answers = ask(build_answerer(answerer), images, questions)
    return [_scored(*of_image) for of_image in zip(metadata, graphs, answers, strict=True)]


# Found by their names.
check_score = check_answerer
score_metrics = tuple(METRICS.values())


def _scored(
    record: Mapping[str, Any], propositions: Sequence[Proposition], said: Mapping[str, float]
) -> dict[str, tuple[float, str]]:
    """An image's scores by metric; where ``published`` leaves its prompt out, that and why."""
    corrected = {METRICS["corrected"]: _share(propositions, said, "corrected")}
    if record["left_out"]:
        why = detail(variant="published", left_out=record["left_out"])
        return {METRICS["published"] + LEFT_OUT: (1.0, why), **corrected}
    by_number = {p.number: p for p in propositions}
    read = [by_number[number] for number in record["published"]]
    return {METRICS["published"]: _share(read, said, "published"), **corrected}


def _share(
    propositions: Sequence[Proposition], said: Mapping[str, float], variant: Variant
) -> tuple[float, str]:
    yes = {p.number: said[p.question] > 0.5 for p in propositions}
    held = holds(propositions, yes, variant)
    rows = [[p.question, said[p.question], held[p.number], p.what] for p in propositions]
    value = 100 * sum(held.values()) / len(held)
    return value, detail(variant=variant, propositions=rows)


def holds(
    propositions: Sequence[Proposition], yes: Mapping[int, bool], variant: Variant
) -> dict[int, bool]:
    """Which propositions hold: those answered with yes whose parents hold.

    Args:
        propositions: of one prompt, in the table's order.
        yes: what was answered, by number.
        variant: ``published`` looks at each proposition once, in order, so that one that stands
            before its parent sees the parent's answer rather than whether it holds.
    """
    held = dict(yes)
    for _ in range(len(propositions) if variant == "corrected" else 1):
        for proposition in propositions:
            if not all(held[parent] for parent in proposition.parents):
                held[proposition.number] = False
    return held


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} lacks the columns {', '.join(missing)}")
        return list(reader)


def _proposition(row: Mapping[str, str], path: Path) -> Proposition:
    try:
        parents = [int(number) for number in row["dependency"].split(",")]
        number = int(row["proposition_id"])
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: faulty row of prompt {row['item_id']!r}: {error}") from error
    known = tuple(parent for parent in parents if parent != _NO_PARENT)
    return Proposition(number, known, row["tuple"], row["question_natural_language"])


def _from_row(row: Sequence[Any]) -> Proposition:
    number, parents, what, question = row
    return Proposition(number, tuple(parents), what, question)
