"""``python -m harness geneval IMAGES``: GenEval's decisions about a folder, and their summary."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from harness.base.atomic_files import output_file, write_text
from harness.base.errors import SpecError, some_of, unknown
from harness.base.import_strings import resolve
from harness.benchmarks.geneval import TASKS, Evaluator, check_words
from harness.benchmarks.geneval_metadata import extra_fields
from harness.cli.geneval_folder import Sample, faults_of, read_folder
from harness.results.image_files import Bytes, ImageReader, n_workers, upright
from hypernoise.progress import Progress
from hypernoise.text_files import lines_of

#: Detectors that a user may name by one word: target of the function that gives its Evaluator.
DETECTORS = {"shapeworld": "harness.benchmarks.shapeworld:evaluator"}
_RESULTS = "results.jsonl"
#: Prompts of GenEval's ``evaluation_metadata.jsonl``.
N_PUBLISHED = 553
_COCO = "harness.benchmarks.geneval_coco:evaluator"


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


def run(
    images: Path,
    out: Path | None,
    detector: str,
    revision: str,
    clip: str,
    prompts: int | None,
    samples: int | None,
) -> None:
    """Score a folder in GenEval's layout and print the summary; or summarise a ``results.jsonl``.

    Args:
        images: the folder, or a results file of this or of another tool.
        out: where the results go; by default ``results.jsonl``, if there is none yet.
        detector: a word of :data:`DETECTORS`, ``"package.module:function"`` that gives an
            Evaluator, or folder or hub name of Mask2Former; empty for the published one.
        revision: commit of the detector's hub repository.
        clip: checkpoint of the colour classifier (:mod:`hypernoise.weights.pinned_files`); empty
            for the published one.
        prompts, samples: how many prompts, and images of each, there must be.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: images or prompts are missing, double or unreadable, results are judged already
            and so take no detector, or there are results by default.
        OSError: ``out`` cannot be written.
    """
    if images.is_file():
        given = {"--out": out, "--detector": detector, "--revision": revision, "--clip": clip}
        if useless := [name for name, value in given.items() if value]:
            raise SpecError(f"{images} is judged already: it takes no {', no '.join(useless)}")
        results = read_results(images)
        check_counts(results, images, prompts, samples)
    else:
        place = output_file(out or "", _RESULTS)
        evaluator = evaluator_of(detector, revision, clip)
        found = read_folder(images, evaluator, prompts, samples)
        if extra := sorted({key for sample in found for key in extra_fields(sample.metadata)}):
            _note(f"fields of prompts that are not GenEval's are left alone: {', '.join(extra)}")
        results = score_all(found, evaluator)
        write_results(results, place)
    for gap in gaps(results, prompts):
        _note(gap)
    print(summary(results))


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def check_counts(
    results: Sequence[Result], file: Path, n_prompts: int | None, n_samples: int | None
) -> None:
    """Check the results of a file against how many there must be.

    Raises:
        ValueError: an image is there twice, or there are more or fewer prompts, or images of one.
    """
    twice = [name for name, n in Counter(r.filename for r in results).items() if n > 1]
    if twice:
        raise ValueError(f"{file}: judged more than once: {some_of(twice)}")
    counts = Counter(result.metadata for result in results)
    if n_prompts is not None and len(counts) != n_prompts:
        raise ValueError(f"{file} has {len(counts)} prompts, there must be {n_prompts}")
    prompts = {result.metadata: result.prompt for result in results}
    wrong = [f"{prompts[key]!r} has {n}" for key, n in counts.items() if n != n_samples]
    if n_samples is not None and wrong:
        raise ValueError(f"{file}: there must be {n_samples} images per prompt; {some_of(wrong)}")


def gaps(results: Sequence[Result], n_prompts: int | None) -> Iterator[str]:
    """What may be missing, in sentences: an average over what is there does not show it."""
    there = {result.tag for result in results}
    if lacking := [task for task in TASKS if task not in there]:
        yield f"there is no image of {', '.join(lacking)}: the overall score leaves that out"
    counts = Counter(result.metadata for result in results)
    most = max(counts.values())
    prompts = {result.metadata: result.prompt for result in results}
    few = [f"{prompts[key]!r} has {n}" for key, n in counts.items() if n < most]
    if few:
        yield f"of {len(few)} prompts there are fewer than {most} images: {some_of(few)}"
    if n_prompts is None and len(counts) != N_PUBLISHED:
        yield (
            f"there are {len(counts)} prompts, GenEval has {N_PUBLISHED}: with --prompts "
            f"{len(counts)} a missing one is an error"
        )


def evaluator_of(detector: str, revision: str = "", clip: str = "") -> Evaluator:
    """The evaluator that a user names; arguments as in :func:`run`.

    Raises:
        SpecError: a target that does not exist, or a commit of a detector that takes none.
        ValueError, FileNotFoundError: a detector that cannot be had.
    """
    target = DETECTORS.get(detector, detector if ":" in detector else "")
    if detector and not target and "/" not in detector and not Path(detector).exists():
        raise unknown("detector", detector, [*DETECTORS, "a folder", "owner/name of the hub"])
    if target and (revision or clip):
        raise SpecError(f"detector {detector!r} has no revision and no CLIP of its own to choose")
    named = {"detector": detector, "clip": clip, "detector_revision": revision}
    given = {} if target else {key: value for key, value in named.items() if value}
    evaluator: Evaluator = resolve(target or _COCO)(**given)
    return evaluator


def score_all(samples: Sequence[Sample], evaluator: Evaluator) -> list[Result]:
    """GenEval's decisions about all images.

    Raises:
        ValueError: an image cannot be decoded though it looked whole. The others are decoded too
            before the run stops, so that the message counts every such image.
    """
    paths = [sample.path for sample in samples]
    results = []
    # As the original: the orientation that a camera recorded is applied.
    with ImageReader(paths, n_workers(paths, torch.get_num_threads()), upright) as reader:
        progress = Progress("geneval", len(samples), "images")
        for row, sample in enumerate(progress.each(samples)):
            try:
                (pixels,) = reader.pixels(row)
            except ValueError as error:
                rest = range(row + 1, len(samples))
                listed = [str(error), *faults_of(reader.pixels, rest)]
                raise ValueError(f"nothing was written: {some_of(listed)}") from error
            results.append(score(sample, pixels, evaluator))
    return results


def score(sample: Sample, pixels: Bytes, evaluator: Evaluator) -> Result:
    """GenEval's decision about one image, as a line of results.

    Args:
        pixels: uint8 [H, W, 3].

    Raises:
        ValueError: the detector gives a class, or the classifier a colour, that is not its own.
    """
    decision = evaluator.judge(Image.fromarray(pixels), sample.metadata)
    check_words(decision, evaluator)
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
        ValueError: a line is no JSON object, or lacks a field or has a wrong one (file and line are
            named), or there is none. Some tools write metadata and details as objects.
    """
    lines = lines_of(path)
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise ValueError(f"{path} holds no results")
    return [_parsed(line, f"{path}, line {number}") for number, line in numbered]


def _parsed(line: str, where: str) -> Result:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: no JSON: {error}") from error
    names = [field.name for field in fields(Result)]
    lacking = [name for name in names if not isinstance(record, dict) or name not in record]
    if lacking:
        raise ValueError(f"{where}: no {', '.join(lacking)}; GenEval's results have them")
    for name in ("metadata", "details"):
        if isinstance(record[name], dict | list):
            record[name] = json.dumps(record[name])
    for name in names:
        kind, said = (bool, "true or false") if name == "correct" else (str, "a text")
        if not isinstance(record[name], kind):
            raise ValueError(f"{where}: {name} is {record[name]!r}, must be {said}")
    return Result(**{name: record[name] for name in names})


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
            "Summary\n=======",
            f"Total images: {len(table)}",
            f"Total prompts: {len(per_prompt)}",
            f"% correct images: {table['correct'].mean():.2%}",
            f"% correct prompts: {per_prompt.mean():.2%}",
            "\nTask breakdown\n==============",
            *breakdown,
            f"\nOverall score (avg. over tasks): {tasks.mean().mean():.5f}",
        ]
    )
