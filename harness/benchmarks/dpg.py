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
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

from harness.benchmarks.protocol import Images, Metric, Prompt, Score
from harness.benchmarks.questions import Questions, ask, detail
from harness.build.data_files import locate
from harness.build.prompts import NOTES
from hypernoise.text_files import read_text

Variant: TypeAlias = Literal["published", "corrected"]
#: What each variant's score is.
METRICS: dict[Variant, Metric] = {
    "published": Metric(
        "dpg_bench", "share of propositions that hold, as the published scorer counts", "percent"
    ),
    "corrected": Metric(
        "dpg_bench_corrected", "dpg_bench without the published scorer's faults", "percent"
    ),
}
#: The question table in a data folder.
NAME = "dpg_bench/dpg_bench.csv"
#: No public source with its hash was found.
QUESTIONS = (
    "https://github.com/TencentQQGYLab/ELLA/raw/3c228f1dc6c4d3cad0a47493816151a419f14db3/"
    "dpg_bench/dpg_bench.csv"
)
_COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
_NO_PARENT = 0
#: Where a prompt's metadata has its propositions.
_ROWS = "propositions"
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


class DpgBench(Questions):
    """DPG-Bench's score in both variants.

    Prompts have metadata as :func:`graph` gives them; an
    :class:`~harness.benchmarks.questions.Answerer` answers.
    """

    metrics = tuple(METRICS.values())

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        """For each image and variant the share of propositions that hold, and every answer."""
        graphs = [
            [Proposition(n, tuple(parents), *said) for n, parents, *said in p.metadata[_ROWS]]
            for p in prompts
        ]
        questions = [[proposition.question for proposition in those] for those in graphs]
        answers = ask(self.answerer, images, questions)
        return [
            {
                METRICS["published"].name: _published(prompt.metadata, those, said),
                METRICS["corrected"].name: _share(those, said, "corrected"),
            }
            for prompt, those, said in zip(prompts, graphs, answers, strict=True)
        ]


def prompts(questions: str = QUESTIONS) -> tuple[Prompt, ...]:
    """The prompts of the question table, in its order.

    Args:
        questions: the question table (:mod:`hypernoise.weights.pinned_files`); without a hash,
            only a local file is taken.

    Raises:
        ValueError: another file than the one that the hash is of, or as :func:`read_prompts`.
        FileNotFoundError: the question table cannot be had; see :mod:`harness.build.data_files`.
    """
    return tuple(read_prompts(locate(NAME, questions)))


def read_prompts(path: Path) -> list[Prompt]:
    """Prompts of a question table; one that ``published`` leaves out is noted (``NOTES``).

    Of rows with the same prompt and number the last one counts, as in the original.

    Raises:
        ValueError: a column is missing or a row is faulty, or a proposition depends on one that
            its prompt has not.
    """
    with StringIO(read_text(path, keep_ends=True), newline="") as file:
        reader = csv.DictReader(file)
        missing_columns = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing_columns:
            raise ValueError(f"{path} lacks the columns {', '.join(missing_columns)}")
        rows = list(reader)
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
            NOTES.info("%s: prompt %r: %s", path, name, asked["left_out"])
        found.append(Prompt(name, texts[name], TASK, asked))
    return found


def _tables(rows: Iterable[Mapping[str, str]], path: Path) -> dict[str, dict[int, Proposition]]:
    """Prompt -> number -> proposition."""
    tables: dict[str, dict[int, Proposition]] = {}
    for row in rows:
        try:
            parents = [int(number) for number in row["dependency"].split(",")]
            number = int(row["proposition_id"])
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: faulty row of prompt {row['item_id']!r}: {error}") from error
        known = tuple(parent for parent in parents if parent != _NO_PARENT)
        said = Proposition(number, known, row["tuple"], row["question_natural_language"])
        tables.setdefault(row["item_id"], {})[number] = said
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
    return {_ROWS: rows, "published": read, "left_out": left_out}


def _published(
    record: Mapping[str, Any], propositions: Sequence[Proposition], said: Mapping[str, float]
) -> Score:
    if record["left_out"]:
        why = detail(variant="published", left_out=record["left_out"])
        return Score(math.nan, why, left_out=True)
    by_number = {p.number: p for p in propositions}
    return _share([by_number[number] for number in record["published"]], said, "published")


def _share(
    propositions: Sequence[Proposition], said: Mapping[str, float], variant: Variant
) -> Score:
    yes = {p.number: said[p.question] > 0.5 for p in propositions}
    held = holds(propositions, yes, variant)
    rows = [[p.question, said[p.question], held[p.number], p.what] for p in propositions]
    value = 100 * sum(held.values()) / len(held)
    return Score(value, detail(variant=variant, propositions=rows))


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
