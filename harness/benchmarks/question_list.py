"""A file of prompts and questions as a benchmark: PartiPrompts-, DrawBench- or OneIG-like sets.

The file says what is asked, an answerer that is declared with it says how probable the right
answers are; no code is needed. How answers are weighed is this project's own: published numbers of
such sets come of each set's own scripts, models and people.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError, unknown
from harness.benchmarks.protocol import Images, Metric, Prompt, Score
from harness.benchmarks.questions import AnswerJudge, Questions, ask, ask_answers, detail
from hypernoise.text_files import lines_of, read_text
from hypernoise.weights.pinned_files import PinnedFile
from hypernoise.weights.pins import HASH_MARK

#: What is asked about a prompt that the file has no question about; ``{}`` is the prompt.
DEFAULT_QUESTION = 'Does this image show "{}"?'
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_YES, _NO = "yes", "no"


class QuestionList(Questions):
    """How probable the right answers to a prompt's questions are.

    Prompts have ``questions`` in their metadata, pairs of a question and its answer. Those with the
    answers yes and no are asked from an :class:`~harness.benchmarks.questions.Answerer`, others
    need an :class:`~harness.benchmarks.questions.AnswerJudge`.
    """

    metrics = (
        Metric("question_list", "mean probability of the right answers to a prompt's questions"),
        Metric("question_list_all", "1 where every right answer is more probable than not, or 0"),
    )

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """As :meth:`harness.benchmarks.questions.Questions.check`, and each answer.

        Raises:
            SpecError: an answer is neither yes nor no, and the answerer knows no others.
            ValueError: an answer cannot be judged, of several words for example.
        """
        super().check()
        for prompt in prompts:
            for question, answer in prompt.metadata["questions"]:
                if answer.lower() in (_YES, _NO):
                    continue
                if not isinstance(self.answerer, AnswerJudge):
                    raise SpecError(
                        f"{type(self.answerer).__name__} answers yes or no, and prompt "
                        f"{prompt.prompt_id!r} expects {answer!r} to {question!r}"
                    )
                self.answerer.check_answer(question, answer)

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        """Both metrics of each image, in [0, 1], with every right answer's probability."""
        asked = [[(str(q), str(a)) for q, a in p.metadata["questions"]] for p in prompts]
        closed = [[q for q, a in those if a.lower() in (_YES, _NO)] for those in asked]
        others = [[pair for pair in those if pair[1].lower() not in (_YES, _NO)] for those in asked]
        yes = ask(self.answerer, images, closed)
        named = ask_answers(self.answerer, images, others) if any(others) else [{}] * len(asked)
        scored = []
        for those, of_yes, of_named in zip(asked, yes, named, strict=True):
            rows = []
            for question, answer in those:
                right = of_named.get((question, answer), of_yes.get(question, 0.0))
                rows.append((question, answer, 1 - right if answer.lower() == _NO else right))
            sure = [probability for *_, probability in rows]
            values = {
                "question_list": sum(sure) / len(sure),
                "question_list_all": float(min(sure) > 0.5),
            }
            why = detail(questions=rows)
            scored.append({name: Score(value, why) for name, value in values.items()})
        return scored


def prompts(
    questions: str,
    prompt: str = "prompt",
    task: str = "task",
    asks: str = "questions",
    question: str = DEFAULT_QUESTION,
) -> tuple[Prompt, ...]:
    """The prompts of a file, in its order; lines with the same prompt are one, with the questions
    of both.

    Args:
        questions: the file, ``.jsonl``, ``.csv`` or ``.tsv``, here or pinned as weights are.
        prompt: the column of prompts.
        task: the column that says what tables show apart; a file without it has one task.
        asks: the column of questions: a text, whose answer is yes; or, in JSON lines, a list of
            texts and of pairs of a question and its answer.
        question: of a prompt without any, with ``{}`` for the prompt.

    Raises:
        ValueError: another ending, a column that is missing, or a line of another form.
        FileNotFoundError: the file cannot be had.
    """
    suffix = Path(questions.partition(HASH_MARK)[0]).suffix.lower()
    if suffix not in (".jsonl", *_SEPARATORS):
        raise unknown(
            f"ending of the question list {questions!r}:", suffix, (".jsonl", *_SEPARATORS)
        )
    path = PinnedFile.parse(questions).fetch()
    found: dict[str, Prompt] = {}
    for where, record in records_of(path, suffix):
        text = record.get(prompt)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{where}: no text {prompt!r} (has {', '.join(map(str, record))})")
        text = text.strip()
        pairs = pairs_of(record.get(asks) or [question.replace("{}", text)], where)
        named = str(record.get(task) or "all")
        there = found.setdefault(text, Prompt(f"{len(found):05}", text, named, {"questions": []}))
        there.metadata["questions"].extend(p for p in pairs if p not in there.metadata["questions"])
    if not found:
        raise ValueError(f"{path} has no prompt")
    return tuple(found.values())


def records_of(path: Path, suffix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each record stands, and what it says."""
    if suffix in _SEPARATORS:
        rows = csv.DictReader(
            StringIO(read_text(path, keep_ends=True), newline=""), delimiter=_SEPARATORS[suffix]
        )
        for row in rows:
            yield f"{path}, line {rows.line_num}", {k: v for k, v in row.items() if k}
        return
    for number, line in enumerate(lines_of(path), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{where}: not JSON: {error}") from error
            if not isinstance(record, dict):
                raise ValueError(f"{where}: must be an object, got {record!r}")
            yield where, record


def pairs_of(given: Any, where: str) -> list[list[str]]:
    """Pairs of a question and its answer."""
    pairs = []
    for each in (
        [given] if isinstance(given, str) else given if isinstance(given, list) else [given]
    ):
        pair = [each, _YES] if isinstance(each, str) else each
        if not isinstance(pair, list) or [type(part) for part in pair] != [str, str]:
            raise ValueError(
                f"{where}: must ask a text, or a question and its answer, got {each!r}"
            )
        pairs.append(pair)
    return pairs
