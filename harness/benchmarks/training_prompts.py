"""The paper's training prompts: T2I-CompBench, ABC-6K and Pick-a-Pic, about 70,000 in all.

They have no metadata; the task of a prompt is the list that it is from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.base.errors import unknown
from harness.base.import_strings import resolve
from harness.benchmarks.prompts import normalised
from harness.benchmarks.protocol import Prompt
from harness.build import data_files
from harness.build.data_files import DataFile

_COMPBENCH_SHA256 = {
    "color_train": "db5d3287027d453f8c977f0c7315f8a01a770f02f61fa54ae19406762982393f",
    "color_val": "1634259756dbc77d13093d907d414480080ec9790a8c97ad09efaea7b2534f2d",
    "complex_train": "d214ac45cb3c5307dd14a144c8c69aa5ffdcc7be74ff71b5dac989f8ca9f924b",
    "complex_val": "1b808018b8d9916db3d47d5aa2ef18377a3549a56901a474156f799824cdf3b4",
    "non_spatial_train": "dbac5a9ec83204dcd0c3538a12d3212e2ce66db6f7ba45b49a1d869b2d3f2430",
    "non_spatial_val": "04c56cc9ac441dc9ea6c5157652058bd1635b5308526dd31bb29a1caab9a758d",
    "shape_train": "451bdfccd330d4cf979d45664817be7959e89250b93d5c591cc562b858175a87",
    "shape_val": "37e1a276906c7ea9516cbd7ac8501be896006c0c17ca7344f260562834455bae",
    "spatial_train": "af14cdf2320057d98f94077e6211c2ddfaabfbb9e3842873657baabb17e00de6",
    "spatial_val": "8707a1d7e42ce3002d95363cf55f74bd043c843ae27108f5125aaaa7840ca988",
    "texture_train": "4846315c5972f9e9cc82e4833099e8ec2c28b999ca77269512715f3f56bde54f",
    "texture_val": "fbb5363515b4a28009e360afaaaf389d2dd2289e50dbb0c6ef4ea0c7fe4f3d4f",
}
#: T2I-CompBench's six categories; those that it gained later are not in the paper.
CATEGORIES = ("color", "shape", "texture", "spatial", "non_spatial", "complex")
SPLITS = ("train", "val")
ABC_6K = DataFile(
    name="abc6k/ABC-6K.txt",
    repository="weixi-feng/Structured-Diffusion-Guidance",
    commit="773b2ba",
    path="dataset/ABC-6K.txt",
    sha256="47fa3ec1a839e6b74bb4f8e3746b454c8a8fb469cef66effddd172473f0f507b",
)
#: One prompt per line, to be made from the data set yuvalkirstain/pickapic_v2: too large to pin.
PICK_A_PIC = "pick_a_pic/prompts.txt"


def t2i_compbench(split: str = "train") -> tuple[Prompt, ...]:
    """T2I-CompBench's prompts, category by category.

    Raises:
        ValueError: unknown split, or a file is another one.
        FileNotFoundError: a file cannot be had; see :mod:`harness.build.data_files`.
    """
    if split not in SPLITS:
        raise unknown("split of T2I-CompBench", split, SPLITS)
    return tuple(
        prompt
        for category in CATEGORIES
        for prompt in _lines(
            data_files.locate(compbench_file(category, split)), f"compbench_{category}_{split}"
        )
    )


def abc_6k() -> tuple[Prompt, ...]:
    """ABC-6K's prompts; raises as :func:`t2i_compbench`."""
    return tuple(_lines(data_files.locate(ABC_6K), "abc6k"))


def pick_a_pic() -> tuple[Prompt, ...]:
    """Pick-a-Pic's prompts, from a file that the user makes.

    Raises:
        FileNotFoundError: there is none.
    """
    path = data_files.folder() / PICK_A_PIC
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: write the captions of the data set yuvalkirstain/pickapic_v2 "
            f"there, one per line, or name a folder that has {PICK_A_PIC} in {data_files.VARIABLE}"
        )
    return tuple(_lines(path, "pick_a_pic"))


def t2i_compbench_val() -> tuple[Prompt, ...]:
    """T2I-CompBench's validation prompts, on which it is evaluated; raises as :func:`abc_6k`."""
    return t2i_compbench("val")


def preference(n: int, apart_from: str | Sequence[str]) -> tuple[Prompt, ...]:
    """The paper's mixture: T2I-CompBench, ABC-6K, then Pick-a-Pic up to ``n`` prompts.

    Every text is taken once. Prompts that are evaluated on are left out, and listed on standard
    error.

    Args:
        n: how many prompts.
        apart_from: target, or targets, of the evaluation's prompts.

    Raises:
        ValueError: there are fewer than ``n``, or as :func:`t2i_compbench`.
        FileNotFoundError: a file cannot be had.
    """
    targets = [apart_from] if isinstance(apart_from, str) else apart_from
    evaluated = {normalised(p.text) for target in targets for p in resolve(target)()}
    chosen: dict[str, Prompt] = {}
    for prompt in (*t2i_compbench("train"), *abc_6k(), *pick_a_pic()):
        if normalised(prompt.text) in evaluated:
            print(f"evaluated on, so not trained on: {prompt.text!r}", file=sys.stderr)
        else:
            chosen.setdefault(normalised(prompt.text), prompt)
    if len(chosen) < n:
        raise ValueError(f"there are {len(chosen)} different training prompts, not {n}")
    return tuple(chosen.values())[:n]


def compbench_file(category: str, split: str) -> DataFile:
    """The published prompts of one of T2I-CompBench's categories."""
    name = f"{category}_{split}"
    return DataFile(
        name=f"t2i_compbench/{name}.txt",
        repository="Karine-Huang/T2I-CompBench",
        commit="1b70949",
        path=f"examples/dataset/{name}.txt",
        sha256=_COMPBENCH_SHA256[name],
    )


def _lines(path: Path, task: str) -> Iterator[Prompt]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if line.strip():
            yield Prompt(f"{task}_{number:05}", line.strip(), task)
