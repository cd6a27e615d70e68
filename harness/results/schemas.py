"""Every column of every frame file: its name, type, unit, meaning, and the values that it may have.

:mod:`harness.results.frames` reads and writes by them. Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.base.errors import unknown

Dtype = Literal["string", "int64", "float64", "bool"]
#: Columns that files may be older than.
LATER = ("backbone_params_m", "slowdown")


@dataclass(frozen=True)
class Numbers:
    """Which numbers a column may have; those that are missing are another matter."""

    least: float = -math.inf
    above: float = -math.inf
    may_be_infinite: bool = False

    def __str__(self) -> str:
        if self.may_be_infinite:
            return "any"
        if self.above > -math.inf:
            return f"above {self.above:g}"
        return f"{self.least:g} or more" if self.least > -math.inf else "finite"


FINITE, FROM_0, FROM_1 = Numbers(), Numbers(least=0), Numbers(least=1)
POSITIVE, ANY_NUMBER = Numbers(above=0), Numbers(may_be_infinite=True)


@dataclass(frozen=True)
class Column:
    """One column; ``may_be_missing`` allows null and NaN, ``numbers`` says which others it has."""

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    may_be_missing: bool = False
    numbers: Numbers = FINITE


@dataclass(frozen=True)
class Schema:
    """The columns of one kind of frame; no two rows may agree in all of ``key``."""

    kind: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


def _text(name: str, meaning: str) -> Column:
    return Column(name, "string", "", meaning)


def _whole(
    name: str, unit: str, meaning: str, missing: str = "", numbers: Numbers = FROM_0
) -> Column:
    return _number(name, unit, meaning, missing, numbers, "int64")


def _number(
    name: str,
    unit: str,
    meaning: str,
    missing: str = "",
    numbers: Numbers = FINITE,
    of: Dtype = "float64",
) -> Column:
    """A float; ``missing`` says when it may be missing, which it may not be without."""
    told = f"{meaning}; missing {missing}" if missing else meaning
    return Column(name, of, unit, told, may_be_missing=bool(missing), numbers=numbers)


_WHO = (
    _text("model", "name of the generator"),
    _text("method", "name of the method"),
    _text("reward", "reward that was trained on or searched; empty for base"),
    _whole("training_seed", "", "seed of the network's training", "where nothing was trained"),
)
NETWORK = tuple(column.name for column in _WHO)
_MEANING = _text("prompt_meaning", "what the prompt asks for: equal for its wordings")
_STEPS = _whole("steps", "sampling steps", "of the generator", numbers=FROM_1)
#: The experiment seed of images that other tools made, from noise that nobody knows.
NO_SEED = -1
_SEED = _whole(
    "seed",
    "",
    "of the experiment: with prompt and index it is the noise; or NO_SEED",
    numbers=Numbers(least=NO_SEED),
)
_OF_OTHER_TOOLS = "of images that other tools made"
_NFE = _number(
    "nfe", "backbone passes per image", "noise network and generator alike", numbers=FROM_0
)

IDENTITY = (  # What says which image a row is about.
    *_WHO,
    _text("benchmark", "name of the benchmark"),
    _text("prompt_id", "identity of the prompt within the benchmark"),
    _MEANING,
    _text("task", "the benchmark's task that the prompt belongs to"),
    _whole("image_index", "", "number of the image among its prompt's, from 0"),
    _SEED,
    _STEPS,
)
_IDENTITY_NAMES = tuple(column.name for column in IDENTITY if column is not _MEANING)

IMAGES = Schema(
    "images",
    (
        *IDENTITY,
        _text("prompt", "the prompt's text"),
        _text("metadata", "what the image is judged by: the prompt's, as JSON"),
        _text("path", "8-bit PNG, relative to the frame's folder"),
        _number(_NFE.name, _NFE.unit, _NFE.meaning, _OF_OTHER_TOOLS, FROM_0),
        _number(
            "reward_calls", "calls per image", "rewards computed meanwhile", _OF_OTHER_TOOLS, FROM_0
        ),
        _number("backward_passes", "passes per image", "gradients taken", _OF_OTHER_TOOLS, FROM_0),
        _number(
            "batch_size", "images", "made together", "where the image does not depend on it", FROM_1
        ),
    ),
    _IDENTITY_NAMES,
)
SCORES = Schema(
    "scores",
    (
        *IDENTITY,
        _text("metric", "a metric of the benchmark, or the name of a judge"),
        _text("meaning", "of the metric, in words"),
        _number("value", "the metric's", "higher is better"),
        _text("detail", "why, in words, where the metric says so"),
    ),
    (*_IDENTITY_NAMES, "metric"),
)
TIMINGS = Schema(
    "timings",
    (
        *_WHO,
        _STEPS,
        _whole("batch_size", "images", "made by one call", numbers=FROM_1),
        _whole("size_px", "pixels", "width and height of an image", numbers=FROM_1),
        _text("precision", "dtype of the generator's networks"),
        _text("mode", "eager, compiled or cuda_graphs"),
        _text("device", "cpu or cuda"),
        _text("stage", "part of the call (harness.results.stage_names)"),
        _whole("repeat", "", "number of the method's call, from 0"),
        _whole("turn", "", "place of the call among all methods' calls, from 0"),
        _number(
            "ms",
            "ms per image",
            "wall time of the stage in the call / batch_size",
            numbers=POSITIVE,
        ),
        _number(
            "gflops",
            "10^9 per image",
            "of the stage, 2 a multiply-add",
            "where not counted",
            FROM_0,
        ),
        _NFE,
        _number(
            "params_m",
            "millions",
            "parameters of the whole pipeline and the adapter",
            numbers=FROM_0,
        ),
        _number(LATER[0], "millions", "of the backbone and the adapter", "in old files", FROM_0),
        _number(
            "peak_memory_mib", "MiB", "of tensors that a call added", "where not measured", FROM_0
        ),
        _whole("threads", "threads", "torch's, within an operator", numbers=FROM_1),
        _number(LATER[1], "share", "a fixed kernel took longer than its best", "in old files"),
    ),
    (
        *("model", "method", "reward", "steps", "batch_size", "size_px"),
        *("precision", "mode", "device", "stage", "repeat"),
    ),
)
TRAINING = Schema(
    "training",
    (
        *_WHO,
        _text("kind", "train: a batch; validation: fixed prompts and noise; kept: the result's"),
        _whole("step", "optimizer steps", "taken when the value was measured"),
        _text("name", "what was measured: loss, half_squared_norm_nats, a reward's name, ..."),
        _number("value", "the quantity's", "measured value"),
    ),
    (*NETWORK, "kind", "step", "name"),
)
TRAJECTORIES = Schema(
    "trajectories",
    (
        *IDENTITY,
        _whole("iteration", "scored images", "of this image so far, from 1", numbers=FROM_1),
        _number("nfe", "backbone passes per image", "spent when it was scored", numbers=FROM_0),
        _text("prompt", "what the scored image was drawn for"),
        _number("value", "the reward's", "searched reward of the image", "where there is none"),
        _number("best_value", "the reward's", "highest value so far"),
    ),
    (*_IDENTITY_NAMES, "iteration"),
)
_SE = "standard error of the estimate"
AUDITS = Schema(
    "audits",
    (
        *_WHO,
        _whole("step", "optimizer steps", "of the checkpoint"),
        Column("is_kept", "bool", "", "whether the checkpoint became the training's result"),
        _text("prompt_id", "identity of the prompt"),
        _MEANING,
        _text("task", "the task that the prompt belongs to"),
        _whole("image_index", "", "number of the noise among its prompt's, from 0"),
        _SEED,
        _whole("n_dimensions", "", "of one image's noise", numbers=FROM_1),
        Column("exact", "bool", "", "whether the whole Jacobian J was formed"),
        _number(
            "half_squared_norm_nats", "nats", "half |f|^2: what training penalises", numbers=FROM_0
        ),
        _number("inner_product_nats", "nats", "<x0, f>; its mean is that of the trace"),
        _number("trace_nats", "nats", "Tr J"),
        _number("trace_se_nats", "nats", f"{_SE}; 0 if exact", numbers=FROM_0),
        _number("log_abs_det_nats", "nats", "log|det(I + J)|", numbers=ANY_NUMBER),
        _number("log_abs_det_se_nats", "nats", _SE, numbers=ANY_NUMBER),
        _number(
            "dropped_nats",
            "nats",
            "Tr J - log|det(I + J)|, which training drops",
            numbers=ANY_NUMBER,
        ),
        _number("dropped_se_nats", "nats", _SE, numbers=ANY_NUMBER),
        _number(
            "kl_nats", "nats", "the KL's integrand: penalised plus dropped", numbers=ANY_NUMBER
        ),
        _number("sign", "", "of det(I + J): -1 turns over, 0 is singular", "without the Jacobian"),
        _number("largest_singular_value", "", "of J", numbers=FROM_0),
        _number("smallest_singular_value", "", "of I + J", numbers=FROM_0),
        _number(
            "bound_nats", "nats", "theorem 1's bound on |dropped| for this J", "where its L >= 1"
        ),
    ),
    (*NETWORK, "step", "prompt_id", "image_index", "seed"),
)
PAIRS = Schema(
    "pairs",
    (
        *IDENTITY,
        _whole("other_index", "", "number of the other image of the prompt, the larger"),
        _text("metric", "what was compared: ..._distance or ..._similarity"),
        _number(
            "value", "the metric's", "higher is more diverse of distances, less of similarities"
        ),
    ),
    (*_IDENTITY_NAMES, "other_index", "metric"),
)
DISTANCES = Schema(
    "distances",
    (
        *_WHO,
        _text("benchmark", "name of the benchmark"),
        _STEPS,
        _text("features", "feature network, by its name in the config"),
        _text("reference", "what images are compared with: a method's images, or a folder"),
        _text("metric", "frechet, kid, cmmd, precision or recall"),
        _number("value", "the metric's", "distances: lower is closer; precision, recall: 0 to 1"),
        _number(
            "se", "the metric's", "standard error, by prompts left out", "of few", numbers=FROM_0
        ),
        _whole("n_groups", "groups", "of prompts, each left out once for se", numbers=FROM_1),
        _whole("n_images", "images", "of the method", numbers=FROM_1),
        _whole("n_reference", "images", "that they are compared with", numbers=FROM_1),
        _whole("n_dimensions", "", "of a feature vector", numbers=FROM_1),
    ),
    (*NETWORK, "benchmark", "steps", "features", "reference", "metric"),
)
SCHEMAS = {
    schema.kind: schema
    for schema in (IMAGES, SCORES, TIMINGS, TRAINING, TRAJECTORIES, AUDITS, PAIRS, DISTANCES)
}

#: Suffix for images that a metric excludes by its own rules. Such an image has no value of the
#: metric, but 1 under ``<metric>_left_out``, whose detail says why.
LEFT_OUT = "_left_out"
#: Ending of a metric that was measured against another prompt (:mod:`harness.stages.prompt_swaps`).
SWAPPED = "_swapped"


def schema_of(kind: str | Schema) -> Schema:
    """The schema of a kind of frame; a schema passes.

    Raises:
        SpecError: the kind is unknown.
    """
    if isinstance(kind, Schema):
        return kind
    if kind not in SCHEMAS:
        raise unknown("kind of frame", kind, SCHEMAS)
    return SCHEMAS[kind]
