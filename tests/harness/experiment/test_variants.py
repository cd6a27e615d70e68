"""Variants of methods, as text and as paths."""

from __future__ import annotations

import pytest

from harness.base.errors import SpecError
from harness.experiment.variants import Variant

WRITTEN = {
    "base": "base",
    "hypernoise:temperature=0.1,rank=32": "hypernoise:rank=32,temperature=0.1",
    "hypernoise:merged=per_layer": "hypernoise:merged=per_layer",
    "reno:learning_rate=1.0": "reno:learning_rate=1",
    "reno:learning_rate=1e-5": "reno:learning_rate=1e-05",
    "hypernoise:merged=true, image_grad_clip=null": "hypernoise:image_grad_clip=null,merged=true",
    'llm:model="a/b, c",seed="7"': 'llm:model="a/b, c",seed="7"',
    "llm:url=http://localhost:8000/v1": "llm:url=http://localhost:8000/v1",
    "reno:scale=NaN": "reno:scale=NaN",
    'llm:text="häßlich +"': 'llm:text="h\\u00e4\\u00dflich +"',
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_variant_has_one_text_however_it_was_written(text: str) -> None:
    variant = Variant.parse(text)
    assert str(variant) == WRITTEN[text]
    assert Variant.parse(str(variant)) == variant
    assert hash(Variant.parse(str(variant))) == hash(variant)


@pytest.mark.parametrize("text", WRITTEN)
def test_a_variant_can_be_read_back_from_its_path(text: str) -> None:
    variant = Variant.parse(text)
    assert not set(variant.path) & set("/: \"\\'{}*?")
    assert Variant.from_path(variant.path) == variant


def test_values_are_json_scalars_or_strings() -> None:
    given = {"n": 8, "merged": True, "clip": None, "rate": 0.5, "mode": "in_place"}
    text = "reno:n=8,merged=true,clip=null,rate=0.5,mode=in_place"
    assert Variant.parse(text) == Variant("reno", given)
    assert Variant.parse(text).path == "reno+clip=null,merged=true,mode=in_place,n=8,rate=0.5"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("reno:iterations", ["'iterations' is not 'argument=value'"]),
        ("reno:iterations=", ["'iterations' is not 'argument=value'"]),
        ("reno:a=1,", ["is not 'argument=value'"]),
        ("reno:a=1,,b=2", ["is not 'argument=value'"]),
        ("reno:a-b=1", ["'a-b' is not 'argument=value'"]),
        ("reno:a=1,a=2", ["'a' is given twice"]),
        ("reno:", ["must be 'name' or 'name:argument=value,...'"]),
        (":a=1", ["must be 'name' or 'name:argument=value,...'"]),
        ("re no", ["must be 'name' or 'name:argument=value,...'"]),
    ],
)
def test_a_malformed_variant_is_named_with_its_file(text: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as fault:
        Variant.parse(text, "some.yaml")
    for word in ["some.yaml", repr(text), *words]:
        assert word in str(fault.value)
