"""VQAScore: how sure a model that answers questions is that an image shows its prompt.

Source: Lin et al., arXiv 2404.01291. A prompt of any length is read whole, where CLIP reads 77
tokens. Two rewards: one with a gradient, through a model of transformers; one of any answerer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.base.errors import SpecError
from harness.benchmarks.build import Declaration
from harness.benchmarks.questions import TensorAnswerer, ask, build_answerer
from hypernoise.images import to_bytes
from hypernoise.rewards.protocol import Features

#: What stands for the prompt in a question.
PLACE = "{}"
#: Of t2v_metrics for Qwen's models, and the answer whose probability is the score.
QUESTION, ANSWER = f'Does this image show "{PLACE}"?', "Yes"


class VqaScore:
    """Probability that the first token of the answer is that of "Yes", among all tokens.

    Differentiable: pixels go through the model's own processor as tensors, and are not rounded.

    Args:
        answerer: declares a :class:`harness.benchmarks.questions.TensorAnswerer`.
        question: with ``{}`` for the prompt; nothing is added to it.
        answer: whose first token counts, as it is written.
        name: what tables and messages call it.

    Raises:
        SpecError: the question has no place for the prompt, or the answerer takes no tensors.
    """

    def __init__(
        self,
        answerer: Declaration,
        question: str = QUESTION,
        answer: str = ANSWER,
        name: str = "vqa_score",
    ) -> None:
        self.name = name
        self._question, self._answer = checked_question(question, name), answer
        built = build_answerer(answerer)
        if not isinstance(built, TensorAnswerer):
            raise SpecError(
                f"reward {name!r}: {answerer['target']} takes no tensors, which a gradient needs; "
                "harness.benchmarks.vqa_score:VqaJudge asks any answerer, without a gradient"
            )
        self.answerer: TensorAnswerer = built

    def encode(self, prompts: Sequence[str]) -> Features:
        """The prompts: a question is read together with an image."""
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        """Probabilities [B] of images [B, 3, H, W] in [0, 1]."""
        questions = [self._question.replace(PLACE, prompt) for prompt in features.prompts]
        return self.answerer.first_token_probability(images, questions, self._answer)


class VqaJudge:
    """P(yes | yes or no), of whatever answers: a model, a server, a detector. No gradient.

    Args: as of :class:`VqaScore`; ``answerer`` declares a
        :class:`harness.benchmarks.questions.Answerer`, which may add its own instruction.
    """

    differentiable: ClassVar[bool] = False

    def __init__(
        self, answerer: Declaration, question: str = QUESTION, name: str = "vqa_judge"
    ) -> None:
        self.name = name
        self._question = checked_question(question, name)
        self.answerer: Any = build_answerer(answerer)

    def encode(self, prompts: Sequence[str]) -> Features:
        """The prompts: a question is read together with an image."""
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        """Probabilities [B] of images [B, 3, H, W] in [0, 1], rounded as PNGs are."""
        pixels = to_bytes(images).cpu().numpy().astype(np.float32) / np.float32(255)
        questions = [self._question.replace(PLACE, prompt) for prompt in features.prompts]
        said = ask(self.answerer, pixels, [[question] for question in questions])
        values = [answers[asked] for answers, asked in zip(said, questions, strict=True)]
        return torch.tensor(values, device=images.device)


def checked_question(question: str, name: str) -> str:
    """A question with one place for a prompt.

    Raises:
        SpecError: it has none, or several; the reward is named.
    """
    if question.count(PLACE) != 1:
        raise SpecError(
            f"reward {name!r}: its question needs {PLACE} once, where the prompt stands: "
            f"{question!r}"
        )
    return question
