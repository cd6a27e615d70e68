"""T2I-CompBench's colour, shape and texture: are things in an image as the prompt describes them?

Source: Huang et al., arXiv 2307.06350; ``BLIPvqa_eval`` of the authors' repository at commit
1b70949. Every noun chunk of a prompt is a question ("a green bench?"); an image's score is the
product of the probabilities of yes, a category's the mean over 300 prompts with ten images each.
The original rounds each probability and the product to four digits; here nothing is rounded, which
changes a score by less than 5e-5 per chunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Annotated

from harness.base.errors import unknown
from harness.benchmarks.build import Declaration, declared_prompts
from harness.benchmarks.noun_chunks import Chunker, check_chunker, noun_chunks
from harness.benchmarks.protocol import Images, Metric, Prompt, Score
from harness.benchmarks.questions import ask, build_answerer, detail
from harness.benchmarks.training_prompts import SPLITS, compbench_file
from harness.build import data_files
from hypernoise.identity import SCORES_ONLY

#: The categories that the paper reports and BLIP-VQA judges.
CATEGORIES = ("color", "shape", "texture")


class CompBench:
    """T2I-CompBench's score: every noun chunk of a prompt is asked about.

    Args:
        prompts: declares a list of prompts whose metadata have ``chunks``.
        answerer: declares who answers (:class:`harness.benchmarks.questions.Answerer`).
    """

    metrics = (
        Metric("t2i_compbench", "product of the probabilities of yes to a prompt's noun chunks"),
    )

    def __init__(self, prompts: Declaration, answerer: Annotated[Declaration, SCORES_ONLY]) -> None:
        self._prompts = prompts
        # It is built once, when it is first needed.
        self._answerer = cache(lambda: build_answerer(answerer))

    def prompts(self) -> list[Prompt]:
        """The prompts of the declared list."""
        return declared_prompts(self._prompts)

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Build the answerer; raises as :func:`harness.benchmarks.questions.build_answerer`."""
        self._answerer()

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        """The product of the yes-probabilities of each prompt's chunks, in [0, 1]."""
        questions = [[f"{chunk}?" for chunk in prompt.metadata["chunks"]] for prompt in prompts]
        answers = ask(self._answerer(), images, questions)
        scored = []
        for those, said in zip(questions, answers, strict=True):
            # A chunk that a prompt has twice counts twice, as in the original.
            rows = [(question, said[question]) for question in those]
            value = math.prod(probability for _, probability in rows)
            scored.append({"t2i_compbench": Score(value, detail(questions=rows))})
        return scored


def prompts(split: str = "val", chunker: Chunker = "rules") -> tuple[Prompt, ...]:
    """The published prompts of the three categories (task), with the chunks to ask about.

    Args:
        split: ``"val"``, 300 of each category, or ``"train"``, 700.
        chunker: see :mod:`harness.benchmarks.noun_chunks`.

    Raises:
        ValueError: an unknown split, a chunker that is unknown or not installed, a file is another
            one, or a prompt has no chunk.
        FileNotFoundError: a file cannot be had; see :mod:`harness.build.data_files`.
    """
    if split not in SPLITS:
        raise unknown("split of T2I-CompBench", split, SPLITS)
    check_chunker(chunker)
    return tuple(
        _prompt(text, f"{category}_{split}_{number:05}", category, chunker)
        for category in CATEGORIES
        for number, text in enumerate(_lines(category, split))
    )


def _prompt(text: str, prompt_id: str, category: str, chunker: Chunker) -> Prompt:
    chunks = noun_chunks(text, chunker)
    if not chunks:
        raise ValueError(f"prompt {prompt_id} has no noun chunk to ask about: {text!r}")
    return Prompt(prompt_id, text, category, {"chunks": chunks})


def _lines(category: str, split: str) -> list[str]:
    path = data_files.locate(compbench_file(category, split))
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]
