"""HPSv2's benchmark: 800 prompts in each of four styles, judged by HPSv2.1.

Source: Wu et al. 2023, arXiv 2306.09341; prompts of the data set zhwang/HPDv2. The original prints
100 times the mean cosine of each style; scores stay cosines here.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.benchmarks.protocol import Prompt
from harness.benchmarks.tasks import STYLES
from harness.build.data_files import DataFile, locate

#: Prompts of each style.
N_PROMPTS = 800
_SHA256 = {
    "anime": "6b38a479cc6f899866e9b7a8bf91f096b4afc6883b95275a61891327182b14ae",
    "concept-art": "530d057deafcb82c581e9d1be2ffcb98828fe99f0b54257414d2ab8a5cf2b83e",
    "paintings": "6570d39467e08b24b64e5b8a4177b0f61c525631121dc5a91fe2ab956eab4d5f",
    "photo": "92a3c9a0f743f66eb87bd112cdda830d6bdb4c073c86021d53b74001fcb18052",
}


def prompts() -> tuple[Prompt, ...]:
    """All prompts, style by style; ``task`` is the style.

    Raises:
        ValueError: a file is another one, or no list of 800 texts.
        FileNotFoundError: a file cannot be had; see :mod:`harness.build.data_files`.
    """
    return tuple(
        Prompt(f"{style}_{number:04}", text, style)
        for style in STYLES
        for number, text in enumerate(_texts(locate(_file(style))))
    )


def _file(style: str) -> DataFile:
    return DataFile(
        name=f"hpsv2/{style}.json",
        repository="zhwang/HPDv2",
        commit="b9517430f34b1080d4f741118d2a440155a165cd",
        path=f"benchmark/{style}.json",
        sha256=_SHA256[style],
        host="hub_dataset",
    )


def _texts(path: Path) -> list[str]:
    texts = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{path} is no list of texts")
    if len(texts) != N_PROMPTS:
        raise ValueError(f"{path} has {len(texts)} prompts, not {N_PROMPTS}")
    return texts
