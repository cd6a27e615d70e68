"""Sizes on disk that are told beforehand, against what is really written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import published, small_generator, small_parts

from harness.build.devices import dtype_of
from harness.experiment.components import ModelSpec
from harness.planning import sizes

MODELS = published()
#: What an encoding has beside its values.
COUNTS = {"prompt_attention_mask", "lengths"}


@pytest.mark.parametrize("model", MODELS, ids=[model.name for model in MODELS])
def test_a_prompts_encoding_takes_what_the_plan_says_whatever_its_family(
    model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {model.architecture: small_parts(model.architecture)}
    monkeypatch.setattr(sizes, "_architectures", lambda: small)
    dtype = dtype_of(model.arguments.get("dtype", "float32"), model.file)
    tensors = small_generator(model, dtype).encode(["a red cat"]).tensors
    values = {name: value for name, value in tensors.items() if name not in COUNTS}
    told = sizes.encoding_bytes(replace(model, encodings="encodings"))
    assert told == sum(value.nbytes for value in values.values())


def test_three_layers_of_klein_and_the_second_pooled_vector_of_sdxl_are_what_is_kept() -> None:
    models = {model.architecture: replace(model, encodings="encodings") for model in MODELS}
    told = {name: sizes.encoding_bytes(model) for name, model in models.items()}
    assert told["flux2_klein_4b"] == 512 * 3 * 2560 * 2
    assert told["sdxl_turbo"] == (77 * 2048 + 1280) * 2


def test_a_model_that_declares_no_tokens_has_its_familys_own_number() -> None:
    model = next(model for model in MODELS if model.architecture == "z_image_turbo")
    arguments = {name: v for name, v in model.arguments.items() if name != "max_tokens"}
    silent = replace(model, encodings="encodings", arguments=arguments)
    assert sizes.encoding_bytes(silent) == 512 * 2560 * 2
