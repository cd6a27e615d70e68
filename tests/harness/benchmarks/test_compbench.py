"""T2I-CompBench: what its prompts are cut into, on the published files where they are."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter

import pytest
from shared_data import SHARED, needs

from harness.benchmarks import compbench
from harness.benchmarks.noun_chunks import MAX_CHUNKS, noun_chunks
from harness.build import data_files

BENCHMARKS = SHARED / "benchmarks"
needs_data = needs("benchmarks")
#: What only prompts have that are more than "a ... and a ...".
MORE = re.compile(r"^[A-Z]|\.$| (is|are|has|in|on|with|by|for|to|at|of|that) ")


@pytest.mark.parametrize(
    ("prompt", "chunks"),
    [
        ("a green bench and a blue bowl", ["a green bench", "a blue bowl"]),
        ("rubber sole shoes and fluffy clouds", ["rubber sole shoes", "fluffy clouds"]),
        ("a diamond pendant and a round locket", ["a diamond pendant", "a round locket"]),
        ("a blue orange and a red circle.", ["a blue orange", "a red circle"]),
        (
            "a triangular slice of cake and a metallic cake stand",
            ["a triangular slice", "cake", "a metallic cake stand"],
        ),
        (
            "a black bathroom with a black and white shower curtain",
            ["a black bathroom", "a black and white shower curtain"],
        ),
        (
            "A long, narrow yellow kitchen with black and white floor tiles.",
            ["A long, narrow yellow kitchen", "black and white floor tiles"],
        ),
        (
            "The wooden chair and fluffy cushion provide a comfortable seat for the laptop.",
            ["The wooden chair", "fluffy cushion", "a comfortable seat", "the laptop"],
        ),
        (
            "The glass vase and metallic watering can hold the wooden flowers on the windowsill.",
            ["The glass vase", "metallic watering can", "the wooden flowers", "the windowsill"],
        ),
        (
            "The glass picture frame and metallic stand display the wooden photo.",
            ["The glass picture frame", "metallic stand", "the wooden photo"],
        ),
        (
            "The cubic bookshelf with its cylindrical legs held books in the oblong study.",
            ["The cubic bookshelf", "its cylindrical legs", "books", "the oblong study"],
        ),
        ("The ball was on the left of the box.", ["The ball", "the box"]),
        ("three circles", ["three circles"]),
        ("a circle left of a square", ["a circle", "a square"]),
    ],
)
def test_prompts_are_cut_into_noun_chunks(prompt: str, chunks: list[str]) -> None:
    assert noun_chunks(prompt) == chunks


def test_no_more_than_eight_chunks_are_asked_about() -> None:
    nouns = ("cat", "dog", "cow", "hat", "cup", "box", "car", "toy", "bus")
    prompt = " and ".join(f"a {noun}" for noun in nouns)
    assert len(noun_chunks(prompt)) == MAX_CHUNKS == 8


@needs_data
@pytest.mark.parametrize(("split", "n"), [("val", 300), ("train", 700)])
def test_every_published_prompt_has_chunks(
    split: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(BENCHMARKS))
    prompts = compbench.prompts(split)
    assert Counter(prompt.task for prompt in prompts) == dict.fromkeys(compbench.CATEGORIES, n)
    assert len({prompt.prompt_id for prompt in prompts}) == 3 * n
    for prompt in prompts:
        assert all(chunk in prompt.text for chunk in prompt.metadata["chunks"])


@needs_data
def test_the_published_template_gives_two_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(BENCHMARKS))
    prompts = [*compbench.prompts("val"), *compbench.prompts("train")]
    plain = [prompt for prompt in prompts if not MORE.search(prompt.text)]
    other = [prompt.text for prompt in plain if len(prompt.metadata["chunks"]) != 2]
    # Two of one pair name a third thing.
    assert [" a sink and a " in text for text in other] == [True, True]
    assert len(plain) == 2323


def test_a_chunker_that_is_not_installed_says_what_it_needs() -> None:
    if importlib.util.find_spec("spacy") is not None:
        pytest.skip("spaCy is installed")
    with pytest.raises(ValueError, match=r"'spacy' needs spaCy and its model en_core_web_sm"):
        compbench.prompts(chunker="spacy")
    with pytest.raises(ValueError, match=r"'spacey'.*'spacy'"):
        compbench.prompts(chunker="spacey")  # type: ignore[arg-type]


def test_an_unknown_split_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"'validation'.*valid: train, val"):
        compbench.prompts("validation")
