"""Files of GenEval's layout, prompts and adapters' options with any values: read, or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import VALUES, examples
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from harness.build import prompts
from harness.cli.geneval import read_results, summary
from hypernoise.weights.lora_layouts import APPLIED
from hypernoise.weights.saved_lora import check_numbers, lora_config, saved_rank_and_alpha

LINE = {
    "filename": "00000/samples/0000.png",
    "tag": "single_object",
    "prompt": "a photo of a bench",
    "correct": True,
    "reason": "",
    "metadata": "{}",
    "details": "{}",
}
ODD = (float("nan"), float("inf"), -float("inf"))
LORA = {"r": 4, "lora_alpha": 8.0, "peft_type": "LORA", "target_modules": ["a"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed")


@examples(200)
@given(
    keys=st.lists(st.sampled_from(sorted(LINE)), max_size=2),
    value=VALUES,
    torn=st.integers(0, 300),
)
def test_results_of_any_value_are_summarised_or_refused(
    folder: Path, keys: list[str], value: Any, torn: int
) -> None:
    path = folder / "results.jsonl"
    text = json.dumps(LINE) + "\n" + json.dumps(LINE | dict.fromkeys(keys, value))
    path.write_text(text[: len(text) - torn if torn < 40 else None], encoding="utf-8")
    try:
        told = summary(read_results(path))
    except ValueError as error:
        assert str(path) in str(error)
        return
    told.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Given:
    prompt_id: Any
    text: Any
    task: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)


@examples(200)
@given(value=VALUES, place=st.sampled_from(["prompt_id", "text", "task", "metadata"]))
def test_prompts_of_any_value_are_taken_or_refused(value: Any, place: str) -> None:
    right = {"prompt_id": "a", "text": "a red ring", "task": "t"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "check_call", lambda *_: None)
        patch.setattr(prompts, "resolve", lambda _: lambda **_: [Given(**{**right, place: value})])
        try:
            (found,) = prompts.load_prompts(prompts.PromptsSpec("a.b:c"))
        except ValueError as error:
            assert str(error)
            return
    assert isinstance(found.prompt_id, str) and len(found.prompt_id) < 200
    found.text.encode("utf-8")


@examples(200)
@given(
    key=st.sampled_from(["r", "lora_alpha", "rank_pattern", "alpha_pattern", "peft_type", "x"]),
    value=VALUES,
)
def test_options_of_a_lora_of_any_value_are_taken_or_refused(key: str, value: Any) -> None:
    try:
        found = lora_config(json.dumps(LORA | {key: value}), "here", APPLIED)
    except ValueError as error:
        assert str(error)
        return
    assert found["r"] == int(found["r"]) >= 1
    assert 0 < found["lora_alpha"] < float("inf")


@examples(100)
@given(options=VALUES, rank=st.one_of(st.integers(), st.just(10**9)), whole=st.booleans())
def test_no_rank_is_told_that_the_weights_do_not_have(
    folder: Path, options: Any, rank: int, whole: bool
) -> None:
    weights = {f"base_model.model.a.lora_{half}.weight": torch.zeros(4, 4) for half in "AB"}
    save_file(weights, folder / "adapter_model.safetensors")
    told = LORA | {"r": rank} if whole else options
    (folder / "adapter_config.json").write_text(json.dumps(told))
    try:
        found, _ = saved_rank_and_alpha(folder)
    except ValueError as error:
        assert "adapter_config.json" in str(error)
        return
    assert found == 4


@examples(100)
@given(
    dtype=st.sampled_from(["float32", "bfloat16", "int8", "int64", "bool", "complex64"]),
    value=st.one_of(st.floats(-1e30, 1e30), st.sampled_from([0, 1, -1, *ODD])),
    name=st.sampled_from(["a.lora_A.weight", "a.alpha"]),
    n=st.integers(0, 3),
)
def test_weights_that_are_taken_are_finite_numbers(
    dtype: str, value: float, name: str, n: int
) -> None:
    kind = getattr(torch, dtype)
    weight = torch.full((n,), value if kind.is_floating_point or kind.is_complex else 1, dtype=kind)
    try:
        check_numbers({name: weight}, Path("x.safetensors"))
    except ValueError as error:
        assert str(error).startswith("x.safetensors")
        return
    assert bool(weight.float().isfinite().all())
