"""GenEval's protocol: does an image show what its prompt asks for, judged from detections.

A detector finds boxes, this module decides. The rules, thresholds and float32 arithmetic are
those of the original evaluator (Ghosh et al. 2023, github.com/djghosh13/geneval, commit
af4902f), so that a borderline image gets the verdict that published numbers rest on.

In a ``position`` clause ``[relation, k]`` the clause's own objects stand in that relation to
the objects matched by include clause ``k``, which comes earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.base.errors import unknown
from harness.benchmarks.protocol import Metric, Score

CORRECT = Metric("geneval_correct", "1 where the image shows what the prompt asks for, else 0")
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
RELATIONS = ("left of", "right of", "above", "below")

#: The labels that a colour classifier chooses from, in the order in which reasons list them.
COLORS = tuple(
    ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"]
)

#: Class name -> [n, 5] of (x0, y0, x1, y1, score): pixels, y downwards, score in [0, 1].
Detections: TypeAlias = Mapping[str, npt.ArrayLike]
#: (class name, raw indices into that class's detections) -> one colour label per index.
ColorClassifier: TypeAlias = Callable[[str, Sequence[int]], Sequence[str]]

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
#: Pixels; an offset whose shortened parts are both below this is no relation.
_NO_OFFSET = np.float32(1e-3)


class ColorCall(NamedTuple):
    """One question to the colour classifier and its answer, both of length n."""

    classname: str
    raw_index: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """The verdict on one image, with what it rests on.

    Attributes:
        correct: whether every clause of the prompt holds.
        reason: one line per clause that failed, in clause order; empty when correct.
        details: kept detections, class -> rows ``[x0, y0, x1, y1, score]`` by descending
            score, as float32 values; classes of which none was kept are absent.
        color_calls: what the colour classifier was asked, in order.
    """

    correct: bool
    reason: str
    details: Mapping[str, list[list[float]]]
    color_calls: tuple[ColorCall, ...] = ()


class _Kept(NamedTuple):
    raw_index: int
    row: list[float]


@dataclass(frozen=True)
class _Evidence:
    """Everything that the clauses of one prompt are checked against."""

    objects: Mapping[str, list[_Kept]]
    classify_colors: ColorClassifier
    position_threshold: float
    groups: list[list[_Kept] | None] = field(default_factory=list)
    color_calls: list[ColorCall] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluator:
    """What decides about image files, with the words that it knows.

    Attributes:
        judge: (PIL image in RGB, metadata) -> decision; may load its networks at the first call.
        classes: names that the detector gives.
        colors: labels that the colour classifier gives.
        takes_px: width and height of the only images that it takes; 0 for any.
    """

    judge: Callable[[Any, Mapping[str, Any]], Decision]
    classes: tuple[str, ...]
    colors: tuple[str, ...] = COLORS
    takes_px: int = 0


def check_words(decision: Decision, evaluator: Evaluator) -> None:
    """Check that a decision rests on names that its evaluator says it gives.

    The commonest silent error of plugged-in detectors: no prompt asks for a name of their own, and
    what prompts ask for is never found.

    Raises:
        ValueError: a detected class or a colour is none of the evaluator's.
    """
    for name in decision.details:
        check_word(name, evaluator.classes, "class of a detection")
    for label in dict.fromkeys(label for call in decision.color_calls for label in call.labels):
        check_word(label, evaluator.colors, "color of a detection")


def check_word(value: Any, valid: Collection[str], what: str) -> None:
    """Raise SpecError, which names the nearest valid word, for a word that is none of them."""
    if value not in valid:
        raise unknown(what, value, valid)


def scores_of(decisions: Sequence[Decision]) -> list[dict[str, Score]]:
    """GenEval's metric of each image: 1 or 0, and the reason of a failure."""
    return [{CORRECT.name: Score(float(made.correct), made.reason)} for made in decisions]


def decide(
    metadata: Mapping[str, Any],
    detections: Detections,
    colors: Mapping[str, Sequence[str]],
    **thresholds: Any,
) -> Decision:
    """Decide about one image whose detections' colours are all known beforehand.

    Args:
        colors: class name -> one label per raw detection of that class, in the same order;
            read only for the detections that a colour clause asks about.

    The other arguments, ``thresholds`` and the errors are those of :func:`judge`.

    Raises:
        ValueError: a colour clause asks about a detection that ``colors`` does not label.
    """

    def look_up(classname: str, raw_index: Sequence[int]) -> list[str]:
        labels = colors.get(classname, ())
        if max(raw_index, default=-1) >= len(labels):
            raise ValueError(
                f"colors[{classname!r}] has {len(labels)} labels, but the label of detection "
                f"{max(raw_index)} is needed; give one label per raw detection"
            )
        return [labels[index] for index in raw_index]

    return judge(metadata, detections, look_up, **thresholds)


def judge(
    metadata: Mapping[str, Any],
    detections: Detections,
    classify_colors: ColorClassifier,
    *,
    threshold: float = 0.3,
    counting_threshold: float = 0.9,
    max_objects: int = 16,
    max_overlap: float = 1.0,
    position_threshold: float = 0.1,
) -> Decision:
    """Decide about one image, asking for colours only where the verdict needs them.

    Args:
        metadata: one line of ``evaluation_metadata.jsonl``. It is taken as it is, so that a
            faulty clause matters only when it is reached, as in the original; use
            :func:`harness.benchmarks.geneval_metadata.check_metadata` to refuse faulty metadata
            up front.
        detections: class name -> ``[n, 5]`` rows of (x0, y0, x1, y1, score) in any order,
            pixels and score in [0, 1], cast to float32; classes without detections may be
            absent.
        classify_colors: called with a class name and raw indices into its detections.
        threshold: detections are kept when their score is strictly above it, in float32.
        counting_threshold: the same for prompts whose tag is ``counting``.
        max_objects: at most this many detections are kept per class, the best ones.
        max_overlap: a detection is dropped when its IoU with a better one that stays is at
            least this; 1 keeps all, identical boxes included.
        position_threshold: share of the two objects' summed sizes that an offset has to
            exceed before it counts.

    Of equally scored detections the last comes first: the original reverses an ascending
    sort. In any clause only the ``count`` best detections are looked at.

    Raises:
        ValueError: detections of a class are not ``[n, 5]`` or not finite, ``max_objects`` is
            negative, or the classifier returned another number of labels than it was asked for.
        KeyError: a field is missing, or an exclude clause with count 0 meets an absent class.
        IndexError: a position refers to a clause that does not come earlier.
    """
    if max_objects < 0:
        raise ValueError(f"max_objects is {max_objects}, must be at least 0")
    floor = counting_threshold if _get(metadata, "tag", "metadata") == "counting" else threshold
    # The floor is rounded as the scores are: a score of 0.3 must not beat a threshold of 0.3.
    floor32 = float(np.float32(floor))
    objects = {}
    for classname, boxes in detections.items():
        if best := _best(_rows(classname, boxes), floor32, max_objects, max_overlap):
            objects[classname] = best
    evidence = _Evidence(objects, classify_colors, position_threshold)
    faults = [_included(clause, evidence) for clause in metadata.get("include", ())]
    faults += [_excluded(clause, objects) for clause in metadata.get("exclude", ())]
    reason = "\n".join(fault for fault in faults if fault)
    details = {name: [kept.row for kept in group] for name, group in objects.items()}
    return Decision(not reason, reason, details, tuple(evidence.color_calls))


def relations(
    box: Sequence[float], target: Sequence[float], position_threshold: float = 0.1
) -> tuple[str, ...]:
    """Where ``box`` stands as seen from ``target``: none, one or two of :data:`RELATIONS`.

    The offset of the centres is shortened, per axis, by ``position_threshold`` times the
    summed sizes of the boxes. A direction holds when what is left exceeds half the length
    of the unshortened offset.

    Args:
        box: (x0, y0, x1, y1, ...) in pixels, y downwards; calculated in float32.
        target: the same.
    """
    margin = np.float32(position_threshold)
    offset_x, rest_x = _shortened(box[0], box[2], target[0], target[2], margin)
    offset_y, rest_y = _shortened(box[1], box[3], target[1], target[3], margin)
    if abs(rest_x) < _NO_OFFSET and abs(rest_y) < _NO_OFFSET:
        return ()
    length = np.sqrt(offset_x * offset_x + offset_y * offset_y)
    right, down = rest_x / length, rest_y / length
    holds = (right < -0.5, right > 0.5, down < -0.5, down > 0.5)
    return tuple(relation for relation, held in zip(RELATIONS, holds, strict=True) if held)


def _rows(classname: str, boxes: npt.ArrayLike) -> list[list[float]]:
    try:
        table = np.asarray(boxes, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise ValueError(f"detections of {classname!r} are no [n, 5] numbers: {error}") from error
    if table.ndim and not len(table):
        return []
    if table.ndim != 2 or table.shape[1] != 5:
        raise ValueError(
            f"detections of {classname!r} have shape {list(table.shape)}, "
            "must be [n, 5]: x0, y0, x1, y1, score"
        )
    if not np.isfinite(table).all():
        # Compared with a threshold, a NaN is an object that is not there.
        raise ValueError(f"detections of {classname!r} are not all finite numbers")
    rows: list[list[float]] = table.tolist()
    return rows


def _best(
    rows: list[list[float]], floor: float, max_objects: int, max_overlap: float
) -> list[_Kept]:
    ranked = [(row[4], index) for index, row in enumerate(rows) if row[4] > floor]
    ranked.sort(reverse=True)
    limit = np.float32(max_overlap)
    stay: list[_Kept] = []
    for _, index in ranked[:max_objects]:
        row = rows[index]
        if max_overlap == 1 or all(_overlap(better.row, row) < limit for better in stay):
            stay.append(_Kept(index, row))
    return stay


def _overlap(box: Sequence[float], other: Sequence[float]) -> np.float32:
    common = [max(box[0], other[0]), max(box[1], other[1])]
    common += [min(box[2], other[2]), min(box[3], other[3])]
    intersection = _area(common)
    union = _area(box) + _area(other) - intersection
    return intersection / union if union else np.float32(0)


def _area(box: Sequence[float]) -> np.float32:
    x0, y0, x1, y1 = (np.float32(value) for value in box[:4])
    # Corners are pixels that belong to the box, hence one more than their difference.
    width, height = x1 - x0 + _ONE, y1 - y0 + _ONE
    return max(width, _ZERO) * max(height, _ZERO)


def _included(clause: Mapping[str, Any], evidence: _Evidence) -> str:
    classname, count = _get(clause, "class", "include clause"), _get(clause, "count", "clause")
    found = evidence.objects.get(classname, [])[:count]
    fault = ""
    if len(found) < count:
        fault = f"expected {classname}>={count}, found {len(found)}"
    elif "color" in clause:
        fault = _color_fault(clause, found, evidence)
    if "position" in clause and not fault:
        fault = _position_fault(clause, found, evidence)
    evidence.groups.append(None if fault else found)
    return fault


def _color_fault(clause: Mapping[str, Any], found: list[_Kept], evidence: _Evidence) -> str:
    classname, count, color = clause["class"], clause["count"], clause["color"]
    raw_index = tuple(kept.raw_index for kept in found)
    labels = tuple(evidence.classify_colors(classname, raw_index))
    if len(labels) != len(raw_index):
        raise ValueError(
            f"asked for the colors of {len(raw_index)} {classname!r}, "
            f"the classifier gave {len(labels)} labels: {list(labels)}"
        )
    evidence.color_calls.append(ColorCall(classname, raw_index, labels))
    right = labels.count(color)
    if right >= count:
        return ""
    seen = ", ".join(f"{labels.count(name)} {name}" for name in COLORS if name in labels)
    return f"expected {color} {classname}>={count}, found {right} {color}; and {seen}"


def _position_fault(clause: Mapping[str, Any], found: list[_Kept], evidence: _Evidence) -> str:
    classname, (expected, reference) = clause["class"], clause["position"]
    try:
        targets = evidence.groups[reference]
    except IndexError:
        raise IndexError(
            f"position of {classname!r} refers to include clause {reference}, but only "
            f"{len(evidence.groups)} clauses come before it"
        ) from None
    if targets is None:
        return f"no target for {classname} to be {expected}"
    for kept in found:
        for target in targets:
            held = relations(kept.row, target.row, evidence.position_threshold)
            if expected not in held:
                return f"expected {classname} {expected} target, found {' and '.join(held)} target"
    return ""


def _excluded(clause: Mapping[str, Any], objects: Mapping[str, list[_Kept]]) -> str:
    classname, count = _get(clause, "class", "exclude clause"), _get(clause, "count", "clause")
    seen = len(objects.get(classname, ()))
    if seen < count:
        return ""
    if classname not in objects:
        # The original looks the class up here and fails; a silent verdict would differ from it.
        raise KeyError(f"exclude clause of absent class {classname!r} has count {count}, not >= 1")
    return f"expected {classname}<{count}, found {seen}"


def _shortened(
    low: float, high: float, target_low: float, target_high: float, margin: np.float32
) -> tuple[np.float32, np.float32]:
    # Every step rounds to float32 in the original's order: ties are decided by the last bit.
    a0, a1 = np.float32(low), np.float32(high)
    b0, b1 = np.float32(target_low), np.float32(target_high)
    offset = (a0 + a1) / _TWO - (b0 + b1) / _TWO
    rest = max(abs(offset) - margin * (abs(a1 - a0) + abs(b1 - b0)), _ZERO)
    return offset, rest * np.sign(offset)


def _get(mapping: Mapping[str, Any], key: str, what: str) -> Any:
    try:
        return mapping[key]
    except KeyError:
        raise KeyError(f"{what} has no {key!r}: {dict(mapping)}") from None
