"""GenEval 2: prompts of more and more atoms, judged by Soft-TIFA.

Source: Kamath et al., arXiv 2512.16853, and the authors' repository. Every prompt has questions
with their answers, one per atom (object, attribute, relation, count); an answer's soft score is the
probability that the VQA model gives it. Soft-TIFA GM, their geometric mean, estimates whether a
whole prompt is drawn, AM, their arithmetic mean, whether its atoms are; a model's score is the
mean over prompts. Published scores ask Qwen3-VL-8B-Instruct, one image per prompt.

The authors' README confirms the file's fields, both means and what a soft score is. Their script
was not at hand: that a question is followed by "Answer in one word.", that the forms of
:mod:`harness.benchmarks.surface_forms` are summed over the first token, and that a probability of
0 makes the geometric mean 0 (scipy's ``gmean``), is taken from public code that mirrors it.

The data are CC BY-NC 4.0 and come from the data folder or the authors' repository.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import SpecError
from harness.benchmarks.protocol import Images, Metric, Prompt, Score
from harness.benchmarks.questions import AnswerJudge, Questions, ask_answers, detail
from harness.benchmarks.surface_forms import surface_forms
from harness.build.data_files import locate
from hypernoise.text_files import lines_of

DATA = "geneval2/geneval2_data.jsonl"
_FIELDS = ("prompt", "atom_count", "vqa_list", "skills")


class GenEval2(Questions):
    """GenEval 2's Soft-TIFA.

    Prompts have ``vqa_list`` in their metadata, pairs (question, answer), and as many ``skills``;
    an :class:`~harness.benchmarks.questions.AnswerJudge` answers.
    """

    metrics = (
        Metric(
            "geneval2",
            "Soft-TIFA GM: geometric mean of the probabilities of a prompt's right answers",
        ),
    )

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Check the answerer, and that it can judge every answer to the given prompts.

        Raises:
            SpecError: the answerer knows yes and no alone.
            ValueError: an answer cannot be judged; prompt, question and answer are named. Or as
                :func:`harness.benchmarks.questions.build_answerer`.
        """
        judge = self.answerer
        if not isinstance(judge, AnswerJudge):
            raise SpecError(
                "Soft-TIFA needs an answerer with answer_probability and check_answer, not "
                f"{type(judge).__name__}"
            )
        super().check()
        for prompt in prompts:
            for question, answer in prompt.metadata["vqa_list"]:
                try:
                    judge.check_answer(question, answer)
                except ValueError as error:
                    raise ValueError(
                        f"prompt {prompt.prompt_id!r}, question {question!r}, answer {answer!r}: "
                        f"{error}"
                    ) from error

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        """Soft-TIFA GM of each image, in [0, 1]; AM and every answer's probability as details."""
        asked = [[(pair[0], pair[1]) for pair in p.metadata["vqa_list"]] for p in prompts]
        answers = ask_answers(self.answerer, images, asked)
        scored = []
        for prompt, those, said in zip(prompts, asked, answers, strict=True):
            soft = [said[pair] for pair in those]
            means = {"geometric": geometric_mean(soft), "arithmetic": sum(soft) / len(soft)}
            skills = zip(those, prompt.metadata["skills"], strict=True)
            atoms = [[*pair, said[pair], skill] for pair, skill in skills]
            why = detail(**means, atoms=atoms)
            scored.append({"geneval2": Score(means["geometric"], why)})
        return scored


def prompts() -> tuple[Prompt, ...]:
    """The published prompts; an id is the number of its line, a task its atoms, as ``atoms_7``.

    Raises:
        ValueError: another file, or a line of another form.
        FileNotFoundError: the file cannot be had; see :mod:`harness.build.data_files`.
    """
    return tuple(read_prompts(locate(DATA)))


def read_prompts(path: Path) -> list[Prompt]:
    """Prompts of a file in GenEval 2's form, which users may write themselves.

    Raises:
        ValueError: a line is no JSON, lacks a field, has other than one skill per question, or an
            answer of other than one word.
    """
    prompts = []
    for number, line in enumerate(lines_of(path)):
        if not line.strip():
            continue
        where = f"{path}, line {number + 1}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON: {error}") from error
        missing = [n for n in _FIELDS if not isinstance(record, dict) or n not in record]
        if missing:
            raise ValueError(f"{where} lacks {', '.join(missing)}")
        for name, kind in (("prompt", str), ("vqa_list", list), ("skills", list)):
            if not isinstance(record[name], kind):
                said = "a text" if kind is str else "a list"
                raise ValueError(f"{where}: {name} is {record[name]!r}, must be {said}")
        asked, skills = record["vqa_list"], record["skills"]
        if not asked or len(asked) != len(skills):
            raise ValueError(
                f"{where}: vqa_list and skills must be as long as each other, and not empty"
            )
        where = f"{where}, prompt {record['prompt']!r}"
        for pair in asked:
            if not isinstance(pair, list) or list(map(type, pair)) != [str, str]:
                raise ValueError(
                    f"{where}: needs a question and its answer, two texts, got {pair!r}"
                )
            question, answer = pair
            try:
                surface_forms(answer)
            except ValueError as error:
                raise ValueError(f"{where}, question {question!r}: {error}") from error
        metadata = {"vqa_list": asked, "skills": skills}
        task = f"atoms_{record['atom_count']}"
        prompts.append(Prompt(f"{number:05}", record["prompt"], task, metadata))
    return prompts


def geometric_mean(values: Sequence[float]) -> float:
    """Geometric mean of values >= 0; 0 where one of them is 0."""
    if min(values) == 0:
        return 0.0
    return math.exp(sum(map(math.log, values)) / len(values))
