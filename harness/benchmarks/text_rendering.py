"""Text in images: does an image show the text that its prompt has in quotes?

The prompts are this project's own (``text_rendering.toml``), since the published lists could not be
had with a licence; numbers compare methods and models here, and are no match for published ones.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from harness.benchmarks.neighbours import runs
from harness.benchmarks.prompts import PromptList
from harness.benchmarks.protocol import Images, Metric, Prompt, Score
from harness.benchmarks.questions import detail
from hypernoise.rewards.ocr import TextReader, folded, quoted, text_similarity


class TextRendering(PromptList):
    """How near the text that is read in an image is to the one in its prompt's double quotes.

    Args:
        prompts: declares the list of prompts; any with quotes will do.
    """

    metrics = (
        Metric(
            "text_rendering",
            "1 - edit distance / length of the text asked for, as Flow-GRPO's OCR reward",
        ),
        Metric("text_exact", "1 where nothing else and nothing less than the text is read, or 0"),
    )
    _reader = TextReader()

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Check that there is a reader, and that each prompt asks for a text.

        Raises:
            FileNotFoundError: the extra ``ocr`` is not installed.
            ValueError: a prompt has no text in double quotes.
        """
        self._reader.check_installed()
        for prompt in prompts:
            quoted(prompt.text)

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Mapping[str, Score]]:
        """Both metrics of each image, with the text that was read as their detail."""
        alike = runs(images)
        texts = self._reader.read(torch.from_numpy(images[[run.start for run in alike]]))
        read = [text for run, text in zip(alike, texts, strict=True) for _ in run]
        scored: list[Mapping[str, Score]] = []
        for text, prompt in zip(read, prompts, strict=True):
            asked, why = quoted(prompt.text), detail(read=text)
            exact = float(folded(text) == folded(asked))
            values = {"text_rendering": text_similarity(text, asked), "text_exact": exact}
            scored.append({name: Score(value, why) for name, value in values.items()})
        return scored


def prompts() -> tuple[Prompt, ...]:
    """The project's own prompts; their task says what kind of text they ask for."""
    path = Path(__file__).with_suffix(".toml")
    listed = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Prompt(f"{task}_{number:02}", text, task, {"text": quoted(text)})
        for task, texts in listed.items()
        for number, text in enumerate(texts)
    )
