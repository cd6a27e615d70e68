"""Every benchmark of the workflow and of the examples, as declared. Nothing is downloaded."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from examples import with_examples
from harness.benchmarks.build import build_benchmark, check_benchmark
from harness.build.prompts import load_prompts
from harness.experiment.components import BenchmarkSpec

BENCHMARKS = [spec for _, spec in sorted(with_examples().benchmarks.items())]
EMBEDDED = [spec for spec in BENCHMARKS if spec.name.startswith("shapeworld")]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a contract test reached for the network")

    def out_of_reach(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", out_of_reach)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.mark.parametrize("spec", BENCHMARKS, ids=lambda spec: spec.name)
def test_its_class_exists_and_its_metrics_have_a_meaning(spec: BenchmarkSpec) -> None:
    metrics = build_benchmark(spec).metrics
    assert spec.metric in ([metric.name for metric in metrics] or [""])
    assert all(metric.meaning for metric in metrics)


@pytest.mark.parametrize("spec", BENCHMARKS, ids=lambda spec: spec.name)
def test_it_can_score_or_says_what_is_not_pinned(spec: BenchmarkSpec) -> None:
    try:
        check_benchmark(spec)
    except ValueError as error:
        # A pinned model is asked for, which nothing answers here.
        assert any(word in str(error) for word in ("sha256", "commit", "`hf download "))
        assert spec not in EMBEDDED


@pytest.mark.parametrize("spec", EMBEDDED, ids=lambda spec: spec.name)
def test_the_embedded_ones_have_prompts(spec: BenchmarkSpec) -> None:
    prompts = load_prompts(spec.prompts)
    # What is only looked at needs a handful.
    assert len(prompts) > (10 if spec.metric else 3)
    assert all(prompt.metadata for prompt in prompts)
