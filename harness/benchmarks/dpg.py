"""DPG-Bench: long prompts, cut into propositions that depend on one another.

Source: ELLA, arXiv 2403.05135; ``dpg_bench/compute_dpg_bench.py`` of the authors' repository at
commit 3c228f1, which follows DSG (arXiv 2310.18235). Every proposition is asked about; one whose
parent does not hold counts as failed whatever was answered; an image's score is the share that
holds, a model's the mean over images, in percent.

Two variants, by name:

- ``published``: what the authors' scorer counts, and with it the paper. It passes over the
  question table's first row. That row is a proposition of the first prompt, and where others of
  the prompt depend on it the scorer fails there, reports the file's name and leaves the prompt out
  of its mean; so it is left out of the prompts here. Parents are looked at in the table's order.
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
from typing import Any, Literal, TypeAlias, get_args

from harness.benchmarks.questions import (
    Images,
    QuestionedPrompt,
    ask,
    build_answerer,
    check_answerer,
    detail,
)
from harness.data_files import locate_named
from hypernoise.choices import check_choice

Variant: TypeAlias = Literal["published", "corrected"]
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


def prompts(
    variant: Variant = "published", questions: str = QUESTIONS
) -> tuple[QuestionedPrompt, ...]:
    """The prompts of the question table, in its order.

    Args:
        variant: what the module's docstring says.
        questions: the question table (:mod:`hypernoise.checkpoints`); without a hash, only a local
            file is taken.

    Raises:
        ValueError: an unknown variant, or another file than the one that the hash is of.
        FileNotFoundError: the question table cannot be had; see :mod:`harness.data_files`.
    """
    check_choice("variant of DPG-Bench", variant, get_args(Variant))
    return tuple(read_prompts(locate_named(NAME, questions), variant))


def read_prompts(path: Path, variant: Variant) -> list[QuestionedPrompt]:
    """Prompts of a question table; one that ``published`` leaves out is named on standard error.

    Of rows with the same prompt and number the last one counts, as in the original.

    Raises:
        ValueError: a column is missing or a row is faulty, or, under ``corrected``, a
            proposition depends on one that its prompt has not.
    """
    texts: dict[str, str] = {}
    tables: dict[str, dict[int, Proposition]] = {}
    for row in _rows(path)[1 if variant == "published" else 0 :]:
        texts.setdefault(row["item_id"], row["text"])
        said = _proposition(row, path)
        tables.setdefault(row["item_id"], {})[said.number] = said
    return [
        QuestionedPrompt(name, texts[name], TASK, graph(list(table.values()), variant))
        for name, table in tables.items()
        if not _is_left_out(name, table, variant, path)
    ]


def _is_left_out(name: str, table: Mapping[int, Proposition], variant: Variant, path: Path) -> bool:
    missing = orphans(table.values())
    if not missing:
        return False
    fault = f"{path}: propositions of prompt {name!r} depend on {missing}, which it has not"
    if variant == "corrected":
        raise ValueError(fault)
    print(f"{fault}; the published scorer leaves it out", file=sys.stderr)
    return True


def orphans(propositions: Iterable[Proposition]) -> list[int]:
    """Numbers that propositions depend on and that none of them has."""
    said = list(propositions)
    numbers = {proposition.number for proposition in said}
    return sorted({parent for p in said for parent in p.parents if parent not in numbers})


def graph(propositions: Sequence[Proposition], variant: Variant) -> dict[str, Any]:
    """Propositions as a prompt's metadata, of JSON values."""
    rows = [[p.number, list(p.parents), p.what, p.question] for p in propositions]
    return {"variant": variant, "propositions": rows}


def score(
    images: Images, metadata: Sequence[Mapping[str, Any]], answerer: Mapping[str, Any]
) -> list[tuple[float, str]]:
    """DPG-Bench per image: the share of propositions that hold, in percent, and each answer.

    Args:
        images: [N, 3, H, W] in [0, 1].
        metadata: N prompts as :func:`graph` gives them.
        answerer: see :mod:`harness.benchmarks.questions`.
    """
    graphs = [[_from_row(row) for row in record["propositions"]] for record in metadata]
    questions = [[proposition.question for proposition in those] for those in graphs]
    answers = ask(build_answerer(answerer), images, questions)
    scored = []
    for record, those, said in zip(metadata, graphs, answers, strict=True):
        yes = {p.number: said[p.question] > 0.5 for p in those}
        held = holds(those, yes, record["variant"])
        rows = [[p.question, said[p.question], held[p.number], p.what] for p in those]
        value = 100 * sum(held.values()) / len(held)
        scored.append((value, detail(variant=record["variant"], propositions=rows)))
    return scored


# Found by its name.
check_score = check_answerer


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
