"""Prompts that are longer than a text encoder reads are counted and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness_toys
import pytest
import torch
from harness_toys import BENCHMARK, MODEL, REWARD, Redness, ToyGenerator, generate_job
from published import published, small_generator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from trainings import model, train_job

from harness.build.encodings import EncodedOnce
from harness.build.prompt_cuts import cuts, encode_counted, lengths_to, warn
from harness.experiment.components import MethodSpec, ModelSpec, PromptsSpec
from harness.experiment.jobs import ScoreJob
from harness.results import frames
from harness.results.training_folder import STEPS_FILE
from harness.stages import generate, score, train
from hypernoise.prompt_lengths import Length
from hypernoise.rewards.ensemble import Ensemble

__all__ = ["model"]

BY_FAMILY = {spec.target: spec for spec in published()}
SHORT, LONG = "a red cat", "a red cat and a blue dog " * 120
PROMPTS = {"short": SHORT, "long": LONG}
REWORDING = MethodSpec(
    "prompt_search",
    "hypernoise.methods.rewording:grammar_search",
    version=1,
    arguments={"proposals": 2, "rounds": 2},
    needs_reward=True,
)


def families() -> Any:
    return pytest.mark.parametrize("spec", BY_FAMILY.values(), ids=lambda spec: spec.name)


@families()
def test_every_family_names_the_prompt_that_it_cuts_and_encodes_as_before(spec: Any) -> None:
    family = small_generator(spec)
    with torch.no_grad():
        plain = family.encode([SHORT, LONG])
    conditioning, known = encode_counted(family, [SHORT, LONG])
    assert conditioning.tensors.keys() == plain.tensors.keys()
    assert all(torch.equal(v, plain.tensors[n]) for n, v in conditioning.tensors.items())
    found = cuts(known, PROMPTS)
    assert (found["prompts"], found["unknown"], list(found["cut"])) == (2, 0, ["long"])
    # Every encoder of the pipeline cut it.
    tokenizers = {name for name in vars(family.pipeline) if name.startswith("tokenizer")}
    tokenizers = {name for name in tokenizers if callable(vars(family.pipeline)[name])}
    assert found["cut"]["long"].keys() == tokenizers


def words(n: int, last: str = "cat") -> str:
    return " ".join(["red"] * (n - 1) + [last])


@families()
def test_what_a_family_reads_is_where_its_encoding_stops_changing(spec: Any) -> None:
    """The last word that is said to fit counts, and nothing after the first that does not."""
    family = small_generator(spec)
    _, known = encode_counted(family, [words(8), words(16), LONG])
    # Of several tokenizers the one that reads most: what others cut, it still reads.
    name = max(known[LONG], key=lambda one: known[LONG][one].read)
    few, read = known[words(8)][name]
    n = 8 + (read - few) * 8 // (known[words(16)][name].tokens - few)
    fits, other = words(n), words(n, "dog")
    over, farther = words(n + 1), f"{words(n + 1)} and a green bird"
    _, known = encode_counted(family, [fits, other, over])
    assert [known[text][name].is_cut for text in (fits, other, over)] == [False, False, True]
    with torch.no_grad():
        encoded = [family.encode([text]).tensors for text in (fits, other, over, farther)]
    assert not same(*encoded[:2])
    assert same(*encoded[2:])


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether encodings are equal but for rounding: a family may encode more than it keeps."""
    return all(
        one[key].shape == other[key].shape
        and torch.allclose(one[key].float(), other[key].float(), atol=1e-5)
        for key in one
    )


def test_tokens_and_what_is_read_of_them_are_those_of_the_encoding() -> None:
    seen = set()
    for spec in BY_FAMILY.values():
        family = small_generator(spec)
        encoded, known = encode_counted(family, [SHORT, "a red cat and a dog", LONG])
        kept = encoded.tensors.get("lengths")
        mask = encoded.tensors.get("prompt_attention_mask")
        if kept is None and mask is None:
            continue
        kept = mask.sum(1) if kept is None and mask is not None else kept
        assert kept is not None
        read = [min(known[text]["tokenizer"]) for text in encoded.prompts]
        # What the template has before the prompt is not kept, and is the same for all.
        assert len({n - k for n, k in zip(read, kept.tolist(), strict=True)}) == 1, spec.name
        seen.add(type(family).__name__)
    assert seen >= {"QwenImage", "ZImageTurbo"} and len(seen) >= 4


def test_lengths_are_kept_with_encodings_and_unknown_of_files_without(tmp_path: Path) -> None:
    family = small_generator(BY_FAMILY["hypernoise.models.unet:SdTurbo"])
    _, first = encode_counted(EncodedOnce(family, tmp_path), [SHORT, LONG])
    again: Any = EncodedOnce(family, tmp_path)
    again.prepare([SHORT, LONG])
    _, read = encode_counted(again, [SHORT, LONG])
    assert read == first and read[LONG]["tokenizer"] == Length(first[LONG]["tokenizer"].tokens, 77)
    for path in tmp_path.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            about = {"prompt": file.metadata()["prompt"]}
        save_file(load_file(path), path, metadata=about)
    old: Any = EncodedOnce(again, tmp_path)
    _, unknown = encode_counted(old, [SHORT, LONG])
    assert cuts(unknown, PROMPTS) == {"prompts": 2, "unknown": 2, "cut": {}}


@pytest.mark.parametrize("told", ["[null, 3]", "[3, 2.5]", "[true, 3]", "[3]", '["3", 3]', "5"])
def test_a_file_whose_lengths_are_no_numbers_is_made_again(
    told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = small_generator(BY_FAMILY["hypernoise.models.unet:SdTurbo"])
    _, first = encode_counted(EncodedOnce(family, tmp_path), [SHORT])
    (path,) = tmp_path.rglob("*.safetensors")
    about = {"prompt": SHORT, "lengths": f'{{"tokenizer": {told}}}'}
    save_file(load_file(path), path, metadata=about)
    _, again = encode_counted(EncodedOnce(family, tmp_path), [SHORT])
    assert again == first
    assert f"{path} is damaged" in capsys.readouterr().err


def test_the_log_names_each_cut_prompt_with_its_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    known = {SHORT: {"clip": Length(77, 77)}, LONG: {"clip": Length(723, 77)}}
    warn("reward clip_score", cuts(known, PROMPTS))
    told = capsys.readouterr().err
    assert told.startswith("reward clip_score: 1 of 2 prompts") and "short" not in told
    assert "long (723 of 77 in clip)" in told
    warn("reward clip_score", cuts(known, {"short": SHORT}))
    assert not capsys.readouterr().err


class CuttingRedness(Redness):
    """A reward that says that it reads two words."""

    def lengths(self, prompts: Sequence[str]) -> list[dict[str, Length]]:
        return [{"words": Length(len(text.split()), 2)} for text in prompts]


def test_an_ensemble_tells_what_its_parts_tell_each_under_its_own_name() -> None:
    ensemble = Ensemble([(1.0, CuttingRedness()), (1.0, Redness()), (2.0, CuttingRedness())])
    (found,) = ensemble.lengths(["a red circle"])
    assert found == {f"{n}.toy_redness.words": Length(3, 2) for n in (0, 2)}
    silent = Ensemble([(1.0, Redness())])
    assert cuts(lengths_to(silent, [SHORT]), {"short": SHORT})["unknown"] == 1


class WordTokenizer:
    """A token per word."""

    model_max_length = 2

    def __call__(self, texts: list[str], **_: Any) -> dict[str, Any]:
        return {"input_ids": [text.split() for text in texts]}


@pytest.fixture
def _cutting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy generators read two words of a prompt."""
    harness_toys.reset()
    init, encode = ToyGenerator.__init__, ToyGenerator.encode

    def with_tokenizer(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.pipeline.tokenizer = WordTokenizer()

    def tokenized(self: Any, prompts: Any) -> Any:
        self.pipeline.tokenizer(list(prompts), truncation=True)
        return encode(self, prompts)

    monkeypatch.setattr(ToyGenerator, "__init__", with_tokenizer)
    monkeypatch.setattr(ToyGenerator, "encode", tokenized)


def killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("_cutting")
def test_images_and_scores_say_which_prompts_generator_and_reward_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(score, "build_reward", lambda *_: CuttingRedness())
    job = generate_job(tmp_path)
    generate.run(job)
    # Three prompts of three words each.
    cut = {f"toy-{n}": {"tokenizer": {"tokens": 3, "read": 2}} for n in range(3)}
    told = {"prompts": 3, "unknown": 0, "cut": cut}
    assert frames.read_provenance(job.out)["cut_prompts"] == {"model toy_model": told}
    assert "model toy_model: 3 of 3 prompts" in capsys.readouterr().err
    out = str(tmp_path / "scores.parquet")
    score.run(ScoreJob(BENCHMARK, {"train_reward": REWARD}, (job.out,), out, batch_size=4))
    (of_reward,) = frames.read_provenance(out)["cut_prompts"].items()
    assert of_reward[0] == "reward train_reward" and of_reward[1]["cut"].keys() == cut.keys()
    assert "toy-1 (3 of 2 in words)" in capsys.readouterr().err


def test_a_generator_whose_tokenizers_nobody_sees_has_unknown_lengths(tmp_path: Path) -> None:
    harness_toys.reset()
    job = generate_job(tmp_path)
    generate.run(job)
    told = frames.read_provenance(job.out)["cut_prompts"]
    assert told == {"model toy_model": {"prompts": 3, "unknown": 3, "cut": {}}}


@pytest.mark.usefixtures("_cutting")
@pytest.mark.parametrize("stored", [True, False], ids=["encodings on disk", "in memory"])
def test_a_job_that_was_killed_after_its_last_image_knows_what_was_cut(
    stored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings = str(tmp_path / "encodings") if stored else ""
    given: Any = {"model": replace(MODEL, encodings=encodings)}
    job = generate_job(tmp_path / "killed", **given)
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(generate, "_publish", killed)
        generate.run(job)
    built = ToyGenerator.built
    generate.run(job)
    assert ToyGenerator.built == built, "there was no image left to make"
    whole = generate_job(tmp_path / "whole", **given)
    generate.run(whole)
    told = frames.read_provenance(job.out)["cut_prompts"]
    assert told == frames.read_provenance(whole.out)["cut_prompts"]
    assert told["model toy_model"]["cut"].keys() == {"toy-0", "toy-1", "toy-2"}


@pytest.mark.usefixtures("_cutting")
def test_wordings_of_a_method_are_counted_too_also_those_from_before_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = replace(MODEL, encodings=str(tmp_path / "encodings"))
    given: Any = {"model": model, "method": REWORDING, "reward": REWARD, "batch_size": 1}
    job = generate_job(tmp_path, **given)
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(generate, "_publish", killed)
        generate.run(job)
    generate.run(job)
    searched = frames.read(Path(job.out).with_name(generate.TRAJECTORIES_FILE), "trajectories")
    reworded = {text for text in searched["prompt"] if text} - {*harness_toys.PROMPTS}
    told = frames.read_provenance(job.out)["cut_prompts"]["model toy_model, wordings"]
    assert (told["prompts"], told["unknown"]) == (len(reworded), 0)
    cut = {text for text in reworded if len(text.split()) > 2}
    assert told["cut"].keys() == cut and cut
    assert f"wordings: {len(cut)} of {len(reworded)} prompts" in capsys.readouterr().err


def test_trainings_say_which_prompts_are_cut_also_after_a_kill(
    model: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their encodings are kept nowhere, and a training that goes on encodes none again."""
    text = "a photo of a {} circle"
    own = [*map(text.format, ("red", "blue", "green")), f"{text.format('red')} " * 20]
    job = train_job(
        tmp_path,
        replace(model, encodings=str(tmp_path / "encodings")),
        train_prompts=PromptsSpec("harness_toys:texts", {"of": own}),
        validation_prompts=PromptsSpec("harness_toys:texts", {"of": [text.format("pink")]}),
    )
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(train, "publish", killed)
        train.run(job)
    with monkeypatch.context() as watched:
        watched.setattr(EncodedOnce, "encode_passing", killed)
        train.run(job)
    told = frames.read_provenance(tmp_path / "out" / STEPS_FILE)["cut_prompts"]
    of_model = told["model tiny_sd, train"]
    assert (of_model["prompts"], of_model["unknown"], list(of_model["cut"])) == (4, 0, ["p3"])
    assert told["model tiny_sd, validation"] == {"prompts": 1, "unknown": 0, "cut": {}}
    # This reward says nothing of lengths.
    assert told["reward red, train"] == {"prompts": 4, "unknown": 4, "cut": {}}
