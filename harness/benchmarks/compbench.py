"""T2I-CompBench's colour, shape and texture: are things in an image as the prompt describes them?

Source: Huang et al., arXiv 2307.06350; ``BLIPvqa_eval`` of the authors' repository at commit
1b70949. Every noun chunk of a prompt is a question ("a green bench?"); an image's score is the
product of the probabilities of yes, a category's the mean over 300 prompts with ten images each.
The original rounds each probability and the product to four digits; here nothing is rounded, which
changes a score by less than 5e-5 per chunk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.base.import_strings import unknown
from harness.benchmarks.noun_chunks import Chunker, check_chunker, noun_chunks
from harness.benchmarks.questions import (
    Images,
    QuestionedPrompt,
    ask,
    build_answerer,
    check_answerer,
    detail,
)
from harness.benchmarks.training_prompts import SPLITS, compbench_file
from harness.build import data_files

#: The categories that the paper reports and BLIP-VQA judges.
CATEGORIES = ("color", "shape", "texture")


def prompts(split: str = "val", chunker: Chunker = "rules") -> tuple[QuestionedPrompt, ...]:
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


def score(
    images: Images, metadata: Sequence[Mapping[str, Any]], answerer: Mapping[str, Any]
) -> list[tuple[float, str]]:
    """The product of the yes-probabilities of a prompt's chunks, in [0, 1], and each of them.

    Args:
        images: [N, 3, H, W] in [0, 1].
        metadata: N mappings with ``chunks``.
        answerer: see :mod:`harness.benchmarks.questions`.
    """
    questions = [[f"{chunk}?" for chunk in record["chunks"]] for record in metadata]
    answers = ask(build_answerer(answerer), images, questions)
    scored = []
    for those, said in zip(questions, answers, strict=True):
        # A chunk that a prompt has twice counts twice, as in the original.
        rows = [(question, said[question]) for question in those]
        scored.append((math.prod(value for _, value in rows), detail(questions=rows)))
    return scored


# Found by its name.
check_score = check_answerer


def _prompt(text: str, prompt_id: str, category: str, chunker: Chunker) -> QuestionedPrompt:
    chunks = noun_chunks(text, chunker)
    if not chunks:
        raise ValueError(f"prompt {prompt_id} has no noun chunk to ask about: {text!r}")
    return QuestionedPrompt(prompt_id, text, category, {"chunks": chunks})


def _lines(category: str, split: str) -> list[str]:
    path = data_files.locate(compbench_file(category, split))
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]
