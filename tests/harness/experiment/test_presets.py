"""What methods are declared with: the published settings, and equal networks."""

from __future__ import annotations

import functools

import pytest
import yaml
from paths import REPOSITORY

from harness.base.import_strings import resolve
from harness.experiment.components import MethodSpec, Registry
from harness.experiment.config import read
from harness.experiment.methods import method_variant
from harness.experiment.plan import Experiment

WORKFLOWS = REPOSITORY / "workflows"


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The methods that the workflow declares."""
    made = Registry()
    for path in sorted((WORKFLOWS / "methods").glob("*.smk")):
        names = {"add_method": functools.partial(made.add_method, file=path.name)}
        exec(compile(path.read_text(encoding="utf-8"), path, "exec"), names)
    return made


def built(spec: MethodSpec) -> dict[str, object]:
    """The public settings of a method as it is declared."""
    method = resolve(spec.target)(**spec.arguments)
    return {name: value for name, value in vars(method).items() if not name.startswith("_")}


def test_reno_is_declared_with_the_published_settings(registry: Registry) -> None:
    # arXiv 2406.04312, and the options of the authors' code.
    assert built(registry.methods["reno"]) == {
        "iterations": 50,
        "learning_rate": 5.0,
        "momentum": 0.9,
        "grad_clip": 0.1,
        "regularization": 0.01,
        "white_gradient": False,
        "white_noise": False,
    }


def test_white_reno_is_the_second_version_of_its_paper(registry: Registry) -> None:
    # arXiv 2602.08646: v2 and v3 project the gradient, v1 the noise; all without a regularizer.
    found = built(registry.methods["white_reno"])
    assert (found["white_gradient"], found["white_noise"]) == (True, False)
    first = method_variant(registry, "white_reno:white_gradient=false,white_noise=true")
    found = built(first)
    assert (found["white_gradient"], found["white_noise"]) == (False, True)
    assert found["regularization"] == 0


def test_spectral_evolution_is_declared_with_the_settings_of_its_source(registry: Registry) -> None:
    found = built(registry.methods["spectral_evolution"])
    assert (found["population"], found["elites"], found["levels"]) == (10, 5, 4)


def test_searches_are_declared_with_the_papers_numbers_of_images(registry: Registry) -> None:
    for name in ("best_of_n", "spectral_evolution"):
        assert built(registry.methods[name])["n"] == 50
    for name in ("prompt_search", "prompt_search_llm", "prompt_search_llama"):
        arguments = registry.methods[name].arguments
        assert (arguments["proposals"], arguments["rounds"]) == (5, 10), name


def test_the_papers_language_model_is_declared_at_a_commit(registry: Registry) -> None:
    llama = registry.methods["prompt_search_llama"]
    assert llama.arguments["model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert resolve(llama.target)(**llama.arguments).words_prompts


@pytest.mark.parametrize("config", ["tiny.yaml", "paper.yaml"])
def test_noise_network_and_fine_tuning_are_trained_with_equal_ranks(
    registry: Registry, config: str
) -> None:
    text = (WORKFLOWS / "config" / config).read_text(encoding="utf-8")
    experiment = Experiment(read(yaml.safe_load(text), config), registry, config)
    for model in experiment.config.models:
        ranks = [
            experiment.options(model, experiment.config.reward, name)["rank"]
            for name in ("hypernoise", "lora_finetune", "lora_finetune_final")
        ]
        assert len(set(ranks)) == 1, model
