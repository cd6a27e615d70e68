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

from harness.base.errors import unknown
from harness.benchmarks.noun_chunks import Chunker, noun_chunks
from harness.benchmarks.protocol import Images, Metric, Prompt, Score
from harness.benchmarks.questions import Questions, ask, detail
from harness.benchmarks.training_prompts import SPLITS, compbench_files
from hypernoise.text_files import lines_of

#: The categories that the paper reports and BLIP-VQA judges.
CATEGORIES = ("color", "shape", "texture")


class CompBench(Questions):
    """T2I-CompBench's score: every noun chunk of a prompt is asked about.

    Prompts have ``chunks`` in their metadata; an
    :class:`~harness.benchmarks.questions.Answerer` answers.
    """

    metrics = (
        Metric("t2i_compbench", "product of the probabilities of yes to a prompt's noun chunks"),
    )

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        """The product of the yes-probabilities of each prompt's chunks, in [0, 1]."""
        questions = [[f"{chunk}?" for chunk in prompt.metadata["chunks"]] for prompt in prompts]
        answers = ask(self.answerer, images, questions)
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
    # What is wrong with the chunker is said before any file is downloaded.
    noun_chunks("a cat", chunker)
    found = []
    for category, path in compbench_files(split, CATEGORIES).items():
        lines = lines_of(path)
        texts = [line.strip() for line in lines if line.strip()]
        for number, text in enumerate(texts):
            prompt_id = f"{category}_{split}_{number:05}"
            chunks = noun_chunks(text, chunker)
            if not chunks:
                raise ValueError(f"prompt {prompt_id} has no noun chunk to ask about: {text!r}")
            found.append(Prompt(prompt_id, text, category, {"chunks": chunks}))
    return tuple(found)
