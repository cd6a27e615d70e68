"""The paper's training prompts: T2I-CompBench, ABC-6K and Pick-a-Pic, about 70,000 in all.

They have no metadata; the task of a prompt is the list that it is from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from harness.base.errors import each, unknown
from harness.base.import_strings import resolve
from harness.benchmarks.prompts import normalised
from harness.benchmarks.protocol import Prompt
from harness.build import data_files
from harness.build.prompts import NOTES
from hypernoise.text_files import lines_of, read_json
from hypernoise.weights.pins import Missing, sha256_of

#: T2I-CompBench's six categories; those that it gained later are not in the paper.
CATEGORIES = ("color", "shape", "texture", "spatial", "non_spatial", "complex")
SPLITS = ("train", "val")
#: One prompt per line, made by ``python -m harness pick-a-pic``, which leaves its facts beside it.
PICK_A_PIC = "pick_a_pic/prompts.txt"


def t2i_compbench(split: str = "train") -> tuple[Prompt, ...]:
    """T2I-CompBench's prompts, category by category.

    Raises:
        ValueError: unknown split, or a file is another one.
        FileNotFoundError: a file cannot be had; see :mod:`harness.build.data_files`.
    """
    if split not in SPLITS:
        raise unknown("split of T2I-CompBench", split, SPLITS)
    files = compbench_files(split).items()
    return tuple(p for name, file in files for p in _lines(file, f"compbench_{name}_{split}"))


def abc_6k() -> tuple[Prompt, ...]:
    """ABC-6K's prompts; raises as :func:`t2i_compbench`."""
    return tuple(_lines(data_files.locate("abc6k/ABC-6K.txt"), "abc6k"))


def pick_a_pic() -> tuple[Prompt, ...]:
    """Pick-a-Pic's prompts, from the file that ``python -m harness pick-a-pic`` makes.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is another one than its facts are of.
    """
    path = data_files.folder() / PICK_A_PIC
    if not path.is_file():
        raise Missing(
            f"{path} is missing: `python -m harness pick-a-pic` fetches it; or write prompts "
            f"there, one per line, or name a folder that has {PICK_A_PIC} in {data_files.VARIABLE}",
            str(path),
            "python -m harness pick-a-pic",
        )
    if (facts := facts_of(path)).is_file():
        wanted = read_json(facts)["sha256"]
        if (found := sha256_of(path)) != wanted:
            raise ValueError(f"{path} has the SHA-256 {found}, but {facts} is of {wanted}")
    return tuple(_lines(path, "pick_a_pic"))


def facts_of(prompts: Path) -> Path:
    """Where it stands what a list of prompts was made of, and its SHA-256."""
    return prompts.with_suffix(".json")


def t2i_compbench_val() -> tuple[Prompt, ...]:
    """T2I-CompBench's validation prompts, on which it is evaluated; raises as :func:`abc_6k`."""
    return t2i_compbench("val")


def preference(n: int, apart_from: str | Sequence[str]) -> tuple[Prompt, ...]:
    """The paper's mixture: T2I-CompBench, ABC-6K, then Pick-a-Pic up to ``n`` prompts.

    Every text is taken once. Prompts that are evaluated on are left out, and told to
    :data:`harness.build.prompts.NOTES`, which a run's check before its first job shows.

    Args:
        n: how many prompts.
        apart_from: target, or targets, of the evaluation's prompts.

    Raises:
        ValueError: there are fewer than ``n``, or as :func:`t2i_compbench`.
        FileNotFoundError: a file cannot be had.
    """
    targets = [apart_from] if isinstance(apart_from, str) else apart_from
    sources = (t2i_compbench, abc_6k, pick_a_pic)
    lists = each([*sources, *map(resolve, targets)])
    evaluated = {normalised(p.text) for found in lists[len(sources) :] for p in found}
    chosen: dict[str, Prompt] = {}
    for prompt in chain(*lists[: len(sources)]):
        if normalised(prompt.text) in evaluated:
            NOTES.info("evaluated on, so not trained on: %r", prompt.text)
        else:
            chosen.setdefault(normalised(prompt.text), prompt)
    if len(chosen) < n:
        raise ValueError(f"there are {len(chosen)} different training prompts, not {n}")
    return tuple(chosen.values())[:n]


def compbench_files(split: str, categories: Sequence[str] = CATEGORIES) -> dict[str, Path]:
    """The published prompts of T2I-CompBench's categories.

    Raises:
        ValueError, FileNotFoundError: as :func:`harness.build.data_files.locate_all`.
    """
    names = [f"t2i_compbench/{category}_{split}.txt" for category in categories]
    return dict(zip(categories, data_files.locate_all(names), strict=True))


def _lines(path: Path, task: str) -> Iterator[Prompt]:
    for number, line in enumerate(lines_of(path)):
        if line.strip():
            yield Prompt(f"{task}_{number:05}", line.strip(), task)
