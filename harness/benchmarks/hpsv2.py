"""HPSv2's benchmark: 800 prompts in each of four styles, judged by HPSv2.1.

Source: Wu et al. 2023, arXiv 2306.09341; prompts of the data set zhwang/HPDv2. The original prints
100 times the mean cosine of each style; scores stay cosines here.
"""

from __future__ import annotations

from harness.benchmarks.protocol import Prompt
from harness.benchmarks.tasks import STYLES
from harness.build.data_files import locate_all
from hypernoise.text_files import read_json

#: Prompts of each style.
N_PROMPTS = 800


def prompts() -> tuple[Prompt, ...]:
    """All prompts, style by style; ``task`` is the style.

    Raises:
        ValueError: a file is another one, or no list of 800 texts.
        FileNotFoundError: a file cannot be had; see :mod:`harness.build.data_files`.
    """
    found = []
    paths = locate_all([f"hpsv2/{style}.json" for style in STYLES])
    for style, path in zip(STYLES, paths, strict=True):
        texts = read_json(path)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{path} is no list of texts")
        if len(texts) != N_PROMPTS:
            raise ValueError(f"{path} has {len(texts)} prompts, not {N_PROMPTS}")
        found += [Prompt(f"{style}_{number:04}", text, style) for number, text in enumerate(texts)]
    return tuple(found)
