"""Declarations, configs and jobs of any values: taken, or refused in words that name the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from fuzzing import VALUES, examples
from harness_toys import generate_job
from hypothesis import given
from hypothesis import strategies as st
from paths import REPOSITORY

from harness.base.errors import SpecError
from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.config_files import extended
from harness.experiment.jobs import load_job
from harness.experiment.validation import to_json

#: Kind -> a declaration that is right.
RIGHT: dict[str, dict[str, Any]] = {
    "model": {"target": "hypernoise.models.unet:SdTurbo", "weights": "random"},
    "reward": {"target": "hypernoise.rewards.redness:Redness"},
    "method": {"target": "hypernoise.methods.base:Base"},
    "benchmark": {"target": "harness.benchmarks.geneval_coco:GenEval", "metric": "x"},
    "table": {"target": "harness.analysis.tables:table1"},
}
KEYS = (
    *("name", "target", "version", "weights", "size_px", "revision", "architecture", "parts"),
    *("weights_of", "trains", "search", "sets", "groups", "methods", "frames", "n_images"),
    *("metric", "of", "n", "url", "dtype", "checkpoint", "state", "arguments", "searcher"),
)
CONFIG = extended(
    yaml.safe_load((REPOSITORY / "workflows/config/tiny.yaml").read_text()),
    REPOSITORY / "workflows/config",
)


@examples(300)
@given(kind=st.sampled_from(sorted(RIGHT)), key=st.sampled_from(KEYS), value=VALUES)
def test_a_declaration_of_any_value_is_taken_or_refused(kind: str, key: str, value: Any) -> None:
    given_ = {"name": "x", "version": 1, **RIGHT[kind], key: value}
    try:
        getattr(Registry(), f"add_{kind}")(given_.pop("name"), **given_)
    except SpecError as error:
        assert str(error)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all keys and items inside a value."""
    pairs: Any = ()
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return [place for k, v in pairs for place in ((*path, k), *places(v, (*path, k)))]


def changed(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of JSON values with another one at a place."""
    copy = json.loads(json.dumps(whole))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@examples(60)
@given(path=st.sampled_from(places(json.loads(json.dumps(CONFIG)))), value=VALUES)
def test_a_config_of_any_value_is_taken_or_refused(path: tuple[Any, ...], value: Any) -> None:
    try:
        read(changed(CONFIG, path, value), "fuzzed.yaml", {})
    except SpecError as error:
        assert "fuzzed.yaml" in str(error)


JOB = json.loads(to_json(generate_job(Path("results"))))


@examples(200)
@given(path=st.sampled_from(places(JOB)), value=VALUES)
def test_a_job_of_any_value_is_taken_or_refused(path: tuple[Any, ...], value: Any) -> None:
    try:
        load_job("generate", json.dumps(changed(JOB, path, value)))
    except ValueError as error:
        assert str(error)
