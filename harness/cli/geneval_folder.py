"""GenEval's own files: its folder of images and its ``results.jsonl``, read and written.

The layout that GenEval's generation script writes and its evaluator reads (commit af4902f)::

    IMAGES/00000/metadata.jsonl      one prompt: a line of evaluation_metadata.jsonl
    IMAGES/00000/samples/0000.png    its images, by number

The original leaves out whatever it does not recognise; here a gap is an error, because every image
that is left out makes the denominator smaller.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
import torch
from PIL import Image

from harness.analysis.pairing import CELL
from harness.base.atomic_files import write_text
from harness.base.import_strings import SpecError, resolve
from harness.benchmarks.geneval import Decision, Evaluator, check_words
from harness.benchmarks.geneval_metadata import check_metadata
from harness.results import frames
from harness.results.image_files import Bytes, ImageReader, check_intact, n_workers, upright
from hypernoise.progress import Progress

METADATA_FILE, SAMPLES = "metadata.jsonl", "samples"
_PROMPT, _IMAGE = "{:05}", "{:04}.png"
#: Detectors that a user may name by one word: target of the function that gives its Evaluator.
DETECTORS = {"shapeworld": "harness.benchmarks.shapeworld:evaluator"}
_COCO = "harness.benchmarks.geneval_coco:evaluator"
_T = TypeVar("_T")


class Sample(NamedTuple):
    """One image file and its prompt in GenEval's fields."""

    path: Path
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """One line of ``results.jsonl``, with the original's fields.

    Attributes:
        filename: the image.
        metadata: the prompt's GenEval fields, as JSON text.
        details: kept detections, class -> [x0, y0, x1, y1, score], as JSON text.
    """

    filename: str
    tag: str
    prompt: str
    correct: bool
    reason: str
    metadata: str
    details: str


def geneval(
    images: Path,
    out: Path,
    detector: str,
    revision: str,
    clip: str,
    prompts: int | None,
    samples: int | None,
) -> None:
    """Score a folder in GenEval's layout and print the summary; or summarise a ``results.jsonl``.

    Args:
        images: the folder, or a results file of this or of another tool.
        out: where the results go; unused where results are given.
        detector: a word of :data:`DETECTORS`, ``"package.module:function"`` that gives an
            Evaluator, or folder or hub name of Mask2Former; empty for the published one.
        revision: commit of the detector's hub repository.
        clip: checkpoint of the colour classifier (:mod:`hypernoise.weights.pinned_files`); empty
        for the
            published one.
        prompts, samples: how many prompts, and images of each, there must be.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: images or prompts are missing or unreadable; all of them are listed.
    """
    if images.is_file():
        print(summary(read_results(images)))
        return
    evaluator = evaluator_of(detector, revision, clip)
    found = read_folder(images, evaluator, prompts, samples)
    results = score_all(found, evaluator)
    write_results(results, out)
    print(summary(results))


def evaluator_of(detector: str, revision: str = "", clip: str = "") -> Evaluator:
    """The evaluator that a user names; arguments as in :func:`geneval`.

    Raises:
        SpecError: a target that does not exist, or a commit of a detector that takes none.
        ValueError, FileNotFoundError: a detector that cannot be had.
    """
    target = DETECTORS.get(detector, detector if ":" in detector else "")
    if not target:
        named = {"detector": detector, "clip": clip, "detector_revision": revision}
        evaluator: Evaluator = resolve(_COCO)(**{k: v for k, v in named.items() if v})
        return evaluator
    if revision or clip:
        raise SpecError(f"detector {detector!r} has no revision and no CLIP of its own to choose")
    evaluator = resolve(target)()
    return evaluator


def read_folder(
    folder: Path, evaluator: Evaluator, n_prompts: int | None = None, n_samples: int | None = None
) -> list[Sample]:
    """Every image of a folder in GenEval's layout, by prompt and number.

    Args:
        n_prompts: how many prompts there must be; as many as the highest number says if None.
        n_samples: images per prompt; as many as the prompt with the most has if None.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no prompt, or something is missing, unreadable or not part of the
            layout; the message lists every fault. Nothing is decoded, but files without checksums
            (:func:`harness.results.image_files.check_intact`).
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} is missing")
    entries = [p for p in folder.iterdir() if p.name.isdigit() or (p / METADATA_FILE).is_file()]
    prompts, faults = _numbered(folder, entries, _PROMPT, n_prompts)
    files = {}
    for path in prompts.values():
        present = (path / SAMPLES).iterdir() if (path / SAMPLES).is_dir() else ()
        files[path] = [entry for entry in present if not entry.name.startswith(".")]
    most = max(map(len, files.values()), default=1) if n_samples is None else n_samples
    samples: list[Sample] = []
    for path in files:
        metadata, wrong = _metadata(path / METADATA_FILE, evaluator)
        images, gaps = _numbered(path / SAMPLES, files[path], _IMAGE, max(1, most))
        samples += [Sample(image, metadata) for image in images.values()]
        faults += wrong + gaps
    faults += _faults(check_intact, [str(sample.path) for sample in samples])
    if faults or not samples:
        listed = "; ".join(faults) or f"there is no {folder / _PROMPT.format(0)}"
        raise ValueError(f"{folder} is not whole in GenEval's layout: {listed}")
    return samples


def score_all(samples: Sequence[Sample], evaluator: Evaluator) -> list[Result]:
    """GenEval's decisions about all images.

    Raises:
        ValueError: an image cannot be decoded though it looked whole. The others are decoded too
            before the run stops, so that the message lists every such image.
    """
    with _reader(samples) as reader:
        results = []
        for row, sample in enumerate(Progress("geneval", len(samples), "images").each(samples)):
            try:
                (pixels,) = reader.pixels(row)
            except ValueError as error:
                rest = range(row + 1, len(samples))
                listed = [str(error), *_faults(reader.pixels, rest)]
                raise ValueError(f"nothing was written: {'; '.join(listed)}") from error
            results.append(score(sample, pixels, evaluator))
    return results


def score(sample: Sample, pixels: Bytes, evaluator: Evaluator) -> Result:
    """GenEval's decision about one image, as a line of results.

    Raises:
        ValueError: the detector gives a class, or the classifier a colour, that is not its own.
    """
    decision = evaluator.judge(Image.fromarray(pixels), sample.metadata)
    check_words(decision, evaluator)
    return result_of(sample, decision)


def result_of(sample: Sample, decision: Decision) -> Result:
    """A decision in the original's fields."""
    return Result(
        filename=str(sample.path),
        tag=sample.metadata["tag"],
        prompt=sample.metadata["prompt"],
        correct=decision.correct,
        reason=decision.reason,
        metadata=json.dumps(sample.metadata),
        details=json.dumps(decision.details),
    )


def write_results(results: Iterable[Result], path: Path) -> None:
    """Write ``results.jsonl`` in one go; folders are made."""
    write_text(path, "".join(json.dumps(asdict(result)) + "\n" for result in results))


def read_results(path: Path) -> list[Result]:
    """Read ``results.jsonl``, of whatever tool; fields beyond the original's are ignored.

    Raises:
        ValueError: a line is no JSON object or lacks a field (file and line are named), or there
            is none.
    """
    results = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            results.append(_parsed(line, f"{path}, line {number}"))
    if not results:
        raise ValueError(f"{path} holds no results")
    return results


def summary(results: Sequence[Result]) -> str:
    """Images, prompts and tasks in the form of the original's ``summary_scores.py``.

    A prompt counts as correct where any of its images is. The overall score is the plain mean of
    the tasks that there are.
    """
    table = pd.DataFrame(map(asdict, results))
    per_prompt = table.groupby("metadata")["correct"].any()
    tasks = table.groupby("tag", sort=False)["correct"]
    breakdown = [
        f"{task:<16} = {values.mean():.2%} ({values.sum()} / {len(values)})"
        for task, values in tasks
    ]
    return "\n".join(
        [
            *_heading("Summary"),
            f"Total images: {len(table)}",
            f"Total prompts: {len(per_prompt)}",
            f"% correct images: {table['correct'].mean():.2%}",
            f"% correct prompts: {per_prompt.mean():.2%}",
            "",
            *_heading("Task breakdown"),
            *breakdown,
            "",
            f"Overall score (avg. over tasks): {tasks.mean().mean():.5f}",
        ]
    )


def export(images: Path, out: Path) -> None:
    """Write the images of a frame into GenEval's layout, for other tools.

    Args:
        images: ``images.parquet`` of one model and method.
        out: the folder; it must not exist, or be empty.

    Raises:
        FileNotFoundError: the frame or an image is missing; all missing images are listed.
        ValueError: the frame has images of several methods, its benchmark is not in GenEval's
            fields, or ``out`` has something in it.
    """
    table = _one_method(frames.read(images, frames.IMAGES), images)
    records = _records(table, images)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; give a folder that does not exist yet")
    sources = [images.parent / name for name in table["path"]]
    lost = [str(path) for path in sources if not path.is_file()]
    if lost:
        raise FileNotFoundError(f"{len(lost)} images of {images} are missing: {', '.join(lost)}")
    folders = {name: out / _PROMPT.format(number) for number, name in enumerate(records)}
    for name in table["prompt_id"].unique():
        (folders[name] / SAMPLES).mkdir(parents=True)
        line = json.dumps(records[name]) + "\n"
        (folders[name] / METADATA_FILE).write_text(line, encoding="utf-8")
    rows = zip(table["prompt_id"], table["image_index"], sources, strict=True)
    for name, index, source in rows:
        shutil.copyfile(source, folders[name] / SAMPLES / _IMAGE.format(index))


def _heading(text: str) -> list[str]:
    return [text, "=" * len(text)]


def _numbered(
    folder: Path, entries: Iterable[Path], form: str, n: int | None
) -> tuple[dict[int, Path], list[str]]:
    """Entries by their number, which must run from 0 without a gap, and a line per fault."""
    suffix = Path(form).suffix
    numbered: dict[int, Path] = {}
    faults = []
    for path in sorted(entries):
        if not path.stem.isdigit() or path.suffix != suffix:
            faults.append(f"{path} is not named like {form.format(0)}")
        elif (first := numbered.setdefault(int(path.stem), path)) != path:
            faults.append(f"{first} and {path} have the same number")
    last = max(numbered, default=-1) + 1
    expected = last if n is None else n
    faults += [
        f"{folder / form.format(number)} is missing"
        for number in range(expected)
        if number not in numbered
    ]
    faults += [f"{path} is one more than {n}" for i, path in numbered.items() if i >= expected]
    return dict(sorted(numbered.items())), faults


def _metadata(path: Path, evaluator: Evaluator) -> tuple[dict[str, Any], list[str]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"expected a JSON object, got {str(record)[:60]!r}")
        check_metadata(record, classes=evaluator.classes, colors=evaluator.colors)
    except FileNotFoundError:
        return {}, [f"{path} is missing"]
    except ValueError as error:
        return {}, [f"{path}: {error}"]
    return record, []


def _reader(samples: Sequence[Sample]) -> ImageReader:
    paths = [sample.path for sample in samples]
    # As the original: the orientation that a camera recorded is applied.
    return ImageReader(paths, n_workers(paths, torch.get_num_threads()), upright)


def _faults(check: Callable[[_T], object], items: Iterable[_T]) -> list[str]:
    """What a check says of the items that it refuses."""
    faults = []
    for item in items:
        try:
            check(item)
        except ValueError as error:
            faults.append(str(error))
    return faults


def _parsed(line: str, where: str) -> Result:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: no JSON: {error}") from error
    names = [field.name for field in fields(Result)]
    lacking = [name for name in names if not isinstance(record, dict) or name not in record]
    if lacking:
        raise ValueError(f"{where}: no {', '.join(lacking)}; GenEval's results have them")
    if not isinstance(record["correct"], bool):
        raise ValueError(f"{where}: correct is {record['correct']!r}, must be true or false")
    return Result(**{name: record[name] for name in names})


def _one_method(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    methods = table[list(CELL)].drop_duplicates()
    if len(methods) != 1:
        named = "; ".join(" ".join(map(str, row)) for row in methods.itertuples(index=False))
        raise ValueError(f"{path} has images of {len(methods)} methods, not of one: {named}")
    return table


def _records(table: pd.DataFrame, images: Path) -> dict[str, dict[str, Any]]:
    """prompt_id -> GenEval fields of every prompt that a frame has images of."""
    prompts = table[["benchmark", "prompt_id", "metadata"]].drop_duplicates("prompt_id")
    records = {}
    for benchmark, name, metadata in prompts.itertuples(index=False):
        records[name] = json.loads(metadata)
        try:
            check_metadata(records[name])
        except ValueError as error:
            raise ValueError(
                f"{images}: benchmark {benchmark!r} is not in GenEval's fields: {error}"
            ) from error
    return records
