"""Images of other tools, as a method: a folder in GenEval's layout, or a table of files.

A table is CSV or parquet with the columns ``prompt_id``, ``image_index`` and ``path``; paths start
from the table's folder and stay in it. Whatever an image is decoded from, it is kept as PNG.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from harness.base.errors import SpecError, some_of, unknown
from harness.base.safe_paths import below
from harness.benchmarks.protocol import Prompt
from harness.results.image_files import check_intact, open_image
from hypernoise.identity import IMAGES
from hypernoise.text_files import read_json

COLUMNS = ("prompt_id", "image_index", "path")
METADATA_FILE, SAMPLES = "metadata.jsonl", "samples"
_IMAGE = re.compile(r"(\d+)\.(png|jpe?g|webp)", re.IGNORECASE)
#: An image by its prompt's id and its number.
Key = tuple[str, int]


@runtime_checkable
class GivesImages(Protocol):
    """A method that gives finished images of another tool: one of its arguments is marked
    :data:`hypernoise.identity.IMAGES`."""

    def files(self, prompts: Sequence[Prompt], n_images: int, size_px: int) -> dict[Key, Path]:
        """The file of every image, checked, as :meth:`GivenImages.files`."""
        ...


class GivenImages:
    """Finished images of a benchmark's prompts; their noise is nobody's business but their tool's.

    Args:
        images: the folder or table.
        size_px: their width and height; that of the model beside which they stand, without it.

    Raises:
        ValueError: the size is negative.
    """

    words_prompts: ClassVar[bool] = False

    def __init__(self, images: Annotated[str, IMAGES], size_px: int = 0) -> None:
        if isinstance(size_px, bool) or size_px < 0:
            raise ValueError(f"size_px must be a number of pixels, got {size_px!r}")
        self._place, self._size_px = Path(images), size_px

    def files(self, prompts: Sequence[Prompt], n_images: int, size_px: int) -> dict[Key, Path]:
        """The file of every image, checked.

        Args:
            prompts: the benchmark's, in its order.
            n_images: of each prompt: no more and no less.
            size_px: width and height unless :attr:`size_px` was given.

        Raises:
            FileNotFoundError: there is no such folder or table.
            ValueError: a prompt or image is missing, double, surplus, unreadable or of another
                size, a column or prompt is unknown, or a path leads out of the folder. One message
                says all, three of each fault.
        """
        if not self._place.exists():
            raise FileNotFoundError(f"images of another tool: there is no {self._place}")
        faults = _Faults(self._place)
        named = _of_folder if self._place.is_dir() else _of_table
        found: dict[Key, Path] = {}
        for key, path in named(self._place, prompts, faults):
            if (first := found.setdefault(key, path)) != path:
                faults.add("an image twice", f"{first.name} and {path.name} of {key[0]}, {key[1]}")
        wanted = {(prompt.prompt_id, n) for prompt in prompts for n in range(n_images)}
        for prompt_id, n in sorted(wanted - found.keys()):
            faults.add("missing images", f"prompt {prompt_id!r} image {n}")
        for prompt_id, n in sorted(found.keys() - wanted):
            least = f"prompt {prompt_id!r} image {n} (images are 0 to {n_images - 1})"
            faults.add("images beyond the benchmark's", least)
        for path in dict.fromkeys(found.values()):
            faults.check(path, self._size_px or size_px)
        faults.stop()
        return found


class _Faults:
    """What is wrong with images, by kind."""

    def __init__(self, place: Path) -> None:
        self._place, self._found = place, defaultdict[str, list[str]](list)

    def add(self, kind: str, what: object) -> None:
        self._found[kind].append(str(what))

    def check(self, path: Path, size_px: int) -> None:
        """Add what is wrong with a file."""
        try:
            check_intact(str(path))
            with open_image(path) as image:
                mode, size = image.mode, image.size
        except (OSError, ValueError) as error:
            kind = "unreadable files" if path.is_file() else "missing files"
            self.add(kind, error if str(path) in str(error) else f"{path} ({error})")
            return
        if mode.startswith(("I", "F")):
            self.add("files of more than 8 bits a channel", f"{path} ({mode})")
        if size != (size_px, size_px):
            hint = "the size of all images that are compared, or what size_px says"
            shown = " x ".join(map(str, size))
            self.add(f"files that are not {size_px} x {size_px} px ({hint})", f"{path} is {shown}")

    def stop(self) -> None:
        """Raise ValueError if there are any."""
        lines = [f"{kind}: {some_of(said)}" for kind, said in self._found.items()]
        if lines:
            raise ValueError(f"{self._place}: " + ". ".join(lines))


def _of_table(file: Path, prompts: Sequence[Prompt], faults: _Faults) -> Iterable[tuple[Key, Path]]:
    """The images that a table names."""
    known = {prompt.prompt_id for prompt in prompts}
    for number, row in enumerate(_rows(file), start=1):
        where = f"row {number}"
        prompt_id, index, path = (str(row[name]).strip() for name in COLUMNS)
        if prompt_id not in known:
            error = unknown("prompt_id", prompt_id, known)
            faults.add("unknown prompts", f"{where}: {str(error).partition(' (valid')[0]}")
        elif not index.isdecimal():
            faults.add("image_index that is no whole number", f"{where}: {index!r}")
        else:
            try:
                (inside,) = below(file.parent, [path], where)
                yield (prompt_id, int(index)), Path(inside)
            except SpecError as error:
                faults.add("paths that leave the folder", error)


def _rows(file: Path) -> list[dict[Any, Any]]:
    kind = file.suffix.lower()
    try:
        if kind == ".parquet":
            table = pd.read_parquet(file)
        elif kind == ".csv":
            table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        else:
            raise ValueError("a table of images is .csv or .parquet, or give a folder")
    except (pa.ArrowException, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    for name in table.columns:
        if name not in COLUMNS:
            raise unknown("column", str(name), COLUMNS, str(file))
    if lacking := [name for name in COLUMNS if name not in table.columns]:
        raise ValueError(f"{file} lacks the column {', '.join(lacking)}; has to have {COLUMNS}")
    return table.to_dict("records")


def _of_folder(
    folder: Path, prompts: Sequence[Prompt], faults: _Faults
) -> Iterable[tuple[Key, Path]]:
    """The images of a folder in GenEval's layout, whose numbers are the places of its prompts."""
    numbered: dict[int, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.name.isdecimal()):
        if (first := numbered.setdefault(int(path.name), path)) != path:
            faults.add("folders of one number", f"{first.name} and {path.name}")
    for number in sorted(numbered.keys() - set(range(len(prompts)))):
        faults.add(f"folders beyond the {len(prompts)} prompts", numbered[number].name)
    for number, prompt in enumerate(prompts):
        if number not in numbered:
            faults.add("missing folders of prompts", f"{number:05} ({prompt.text!r})")
            continue
        try:
            (metadata,) = below(folder, [f"{numbered[number].name}/{METADATA_FILE}"], folder)
            text = read_json(metadata)["prompt"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            faults.add(f"{METADATA_FILE} without a prompt", f"{numbered[number].name} ({error})")
            continue
        if text != prompt.text:
            said = f"{numbered[number].name} has {text!r}, the benchmark {prompt.text!r}"
            faults.add("folders of another prompt", said)
            continue
        samples = numbered[number] / SAMPLES
        for path in sorted(samples.iterdir()) if samples.is_dir() else ():
            if match := _IMAGE.fullmatch(path.name):
                try:
                    (inside,) = below(folder, [str(path.relative_to(folder))], folder)
                    yield (prompt.prompt_id, int(match[1])), Path(inside)
                except SpecError as error:
                    faults.add("links that leave the folder", error)
