"""GenEval's layout of images: read without a gap, and written.

The layout that GenEval's generation script writes and its evaluator reads (commit af4902f)::

    IMAGES/00000/metadata.jsonl      one prompt: a line of evaluation_metadata.jsonl
    IMAGES/00000/samples/0000.png    its images, by number

Images may be JPEG, WebP or BMP, too, and their numbers have any number of digits.

The original leaves out whatever it does not recognise; here a gap is an error, because every image
that is left out makes the denominator smaller.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from harness.analysis.pairing import CELL
from harness.base.atomic_files import check_place
from harness.base.errors import some_of
from harness.base.safe_paths import below
from harness.benchmarks.geneval import Evaluator
from harness.benchmarks.geneval_metadata import check_metadata
from harness.benchmarks.given_images import METADATA_FILE, SAMPLES
from harness.results import frames
from harness.results.image_files import check_intact, open_image
from hypernoise.text_files import read_json

_PROMPT, _IMAGE = "{:05}", "{:04}.png"
#: [0-9]: other scripts have digits, too.
_PROMPT_NAME = re.compile(r"[0-9]+")
_IMAGE_NAME = re.compile(r"[0-9]+\.(png|jpe?g|webp|bmp|ppm)", re.IGNORECASE)
#: What file managers leave behind.
_JUNK = re.compile(r"\..*|Thumbs\.db|desktop\.ini|ehthumbs\.db|Icon\r|@eaDir", re.IGNORECASE)
_T = TypeVar("_T")


class Sample(NamedTuple):
    """One image file and its prompt in GenEval's fields."""

    path: Path
    metadata: dict[str, Any]


def read_folder(
    folder: Path, evaluator: Evaluator, n_prompts: int | None = None, n_samples: int | None = None
) -> list[Sample]:
    """Every image of a folder in GenEval's layout, by prompt and number.

    Args:
        n_prompts: how many prompts there must be; as many as the highest number says if None.
        n_samples: images per prompt; as many as the prompt with the most has if None.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no prompt, or something is missing, unreadable, a link out of the
            folder, of another size than the detector takes, or not part of the layout; the message
            shows three faults of each kind. Nothing is decoded, but files without checksums
            (:func:`harness.results.image_files.check_intact`).
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} is missing")
    entries = [
        p
        for p in folder.iterdir()
        if _PROMPT_NAME.fullmatch(p.name) or (p / METADATA_FILE).is_file()
    ]
    prompts, faults = _numbered(folder, entries, _PROMPT, n_prompts)
    files = {}
    for path in prompts.values():
        present = (path / SAMPLES).iterdir() if (path / SAMPLES).is_dir() else ()
        files[path] = [entry for entry in present if not _JUNK.match(entry.name)]
    # What is no image would make every other prompt lack one.
    counts = [sum(bool(_IMAGE_NAME.fullmatch(e.name)) for e in those) for those in files.values()]
    most = max(counts, default=1) if n_samples is None else n_samples
    samples: list[Sample] = []
    for path in files:
        metadata, wrong = _metadata(folder, path / METADATA_FILE, evaluator)
        images, found = _numbered(path / SAMPLES, files[path], _IMAGE, max(1, most))
        samples += [Sample(image, metadata) for image in images.values()]
        faults["metadata"] += wrong
        for kind, said in found.items():
            faults[f"images {kind}"] += said
    inside = [str(sample.path.relative_to(folder)) for sample in samples]
    faults["links"] += faults_of(lambda name: below(folder, [name], folder), inside)
    if not faults["links"]:
        paths = [str(sample.path) for sample in samples]
        faults["broken"] += faults_of(lambda path: _check_image(path, evaluator), paths)
    listed = ". ".join(some_of(said) for said in faults.values() if said)
    if listed or not samples:
        listed = listed or f"there is no {folder / _PROMPT.format(0)}"
        raise ValueError(f"{folder} is not whole in GenEval's layout: {listed}")
    return samples


def _check_image(path: str, evaluator: Evaluator) -> None:
    check_intact(path)
    if evaluator.takes_px:
        with open_image(path) as image:
            if image.size != (evaluator.takes_px, evaluator.takes_px):
                width, height = image.size
                raise ValueError(
                    f"{path} has {width} x {height} px, and this detector takes images of "
                    f"{evaluator.takes_px} px alone"
                )


def export(images: Path, out: Path) -> None:
    """Write the images of a frame into GenEval's layout, for other tools.

    Args:
        images: ``images.parquet`` of one model and method.
        out: the folder; it must not exist, or be empty.

    Raises:
        FileNotFoundError: the frame or an image is missing; all missing images are listed.
        ValueError: the frame has images of several methods, its prompts are not in GenEval's
            fields, an image lies outside of its folder, or ``out`` has something in it.
    """
    table = frames.read_images([images])
    methods = table[list(CELL)].drop_duplicates()
    if len(methods) != 1:
        named = "; ".join(" ".join(map(str, row)) for row in methods.itertuples(index=False))
        raise ValueError(f"{images} has images of {len(methods)} methods, not of one: {named}")
    prompts = table[["benchmark", "prompt_id", "metadata"]].drop_duplicates("prompt_id")
    records: dict[str, dict[str, Any]] = {}
    for benchmark, name, fields in prompts.itertuples(index=False):
        records[name] = json.loads(fields)
        try:
            check_metadata(records[name])
        except ValueError as error:
            raise ValueError(
                f"{images}: benchmark {benchmark!r} is not in GenEval's fields: {error}"
            ) from error
    check_place(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        fault = "is not empty" if out.is_dir() else "is no folder"
        raise ValueError(f"{out} {fault}; give a folder that does not exist yet")
    lost = [path for path in table["path"] if not Path(path).is_file()]
    if lost:
        raise FileNotFoundError(
            f"{len(lost)} images of {images} are missing: {some_of(lost, ', ')}"
        )
    folders = {name: out / _PROMPT.format(number) for number, name in enumerate(records)}
    for name, record in records.items():
        (folders[name] / SAMPLES).mkdir(parents=True)
        line = json.dumps(record) + "\n"
        (folders[name] / METADATA_FILE).write_text(line, encoding="utf-8")
    rows = zip(table["prompt_id"], table["image_index"], table["path"], strict=True)
    for name, index, source in rows:
        shutil.copyfile(source, folders[name] / SAMPLES / _IMAGE.format(index))


def faults_of(check: Callable[[_T], object], items: Iterable[_T]) -> list[str]:
    """What a check says of the items that it refuses."""
    faults = []
    for item in items:
        try:
            check(item)
        except ValueError as error:
            faults.append(str(error))
    return faults


def _numbered(
    folder: Path, entries: Iterable[Path], form: str, n: int | None
) -> tuple[dict[int, Path], defaultdict[str, list[str]]]:
    """Entries by their number, which must run from 0 without a gap, and faults by their kind."""
    named = _IMAGE_NAME if form == _IMAGE else _PROMPT_NAME
    numbered: dict[int, Path] = {}
    faults = defaultdict[str, list[str]](list)
    for path in sorted(entries):
        if not named.fullmatch(path.name):
            faults["misnamed"].append(f"{path} is not named like {form.format(0)}")
        elif (first := numbered.setdefault(int(path.stem), path)) != path:
            faults["double"].append(f"{first} and {path} have the same number")
    expected = max(numbered, default=-1) + 1 if n is None else n
    missing = [number for number in range(expected) if number not in numbered]
    faults["missing"] += [f"{folder / form.format(number)} is missing" for number in missing]
    more = [path for number, path in numbered.items() if number >= expected]
    faults["surplus"] += [f"{path} is one more than {n}" for path in more]
    return dict(sorted(numbered.items())), faults


def _metadata(folder: Path, path: Path, evaluator: Evaluator) -> tuple[dict[str, Any], list[str]]:
    try:
        below(folder, [str(path.relative_to(folder))], folder)
        record = read_json(path)
        if not isinstance(record, dict):
            raise ValueError(f"expected a JSON object, got {str(record)[:60]!r}")
        check_metadata(record, classes=evaluator.classes, colors=evaluator.colors)
    except FileNotFoundError:
        return {}, [f"{path} is missing"]
    except ValueError as error:
        return {}, [f"{path}: {error}"]
    return record, []
