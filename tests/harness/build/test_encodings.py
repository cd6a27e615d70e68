"""Encodings on disk: each prompt once, whole, and enough to draw from without text encoders."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_toys import MODEL, PROMPTS, REWARD, ToyGenerator, generate_job, pixels, reset
from paths import REPOSITORY
from published import published, small_generator
from safetensors.torch import load_file
from toys import noise_for

from harness.build import encodings
from harness.build.encodings import EncodedOnce, encoded_once, prepare
from harness.build.generators import build_generator, text_encoder_bytes
from harness.experiment import identity
from harness.experiment.component_files import declared
from harness.experiment.components import MethodSpec
from harness.experiment.identity import job_hash
from harness.results import frames
from harness.results.provenance import packages
from harness.stages import generate
from hypernoise.models.protocol import encode_all
from hypernoise.training.processes import Processes

BY_FAMILY = {spec.target: spec for spec in published()}
SEEDS = [1, 2]


@pytest.fixture(autouse=True)
def _from_zero() -> None:
    reset()


def stored(folder: Path, **changes: Any) -> Any:
    spec = dataclasses.replace(MODEL, encodings=str(folder), **changes)
    return build_generator(spec, "cpu")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_each_prompt_is_encoded_once_whoever_asks(tmp_path: Path) -> None:
    first = stored(tmp_path).encode([PROMPTS[0], PROMPTS[1], PROMPTS[0]])
    again = stored(tmp_path).encode([PROMPTS[1], PROMPTS[2]])
    assert ToyGenerator.encoded == list(PROMPTS[:3])
    assert first.prompts == (PROMPTS[0], PROMPTS[1], PROMPTS[0])
    plain = ToyGenerator("random", 4).encode(PROMPTS[:3]).tensors["shade"]
    assert torch.equal(first.tensors["shade"], plain[[0, 1, 0]])
    assert torch.equal(again.tensors["shade"], plain[[1, 2]])


def test_trainings_read_encodings_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = stored(tmp_path)
    encoded = encode_all(generator, PROMPTS)
    read: list[Path] = []

    def watched(file: Path) -> dict[str, torch.Tensor]:
        read.append(file)
        return load_file(file)

    monkeypatch.setattr(encodings, "load_file", watched)
    rows = encoded.rows([2, 0, 2])
    assert (len(read), read[0]) == (3, read[2]) and read[1] != read[0]
    whole = ToyGenerator("random", 4).encode(PROMPTS)
    assert torch.equal(rows.tensors["shade"], whole.rows([2, 0, 2]).tensors["shade"])
    assert rows.prompts == whole.rows([2, 0, 2]).prompts


def test_prompts_that_pass_are_encoded_with_each_batch_and_kept_nowhere(tmp_path: Path) -> None:
    generator = stored(tmp_path)
    prepare(generator, PROMPTS[:1], passing=PROMPTS)
    (kept,) = files(tmp_path)
    encoded = encode_all(generator, PROMPTS)
    ToyGenerator.encoded.clear()
    rows = encoded.rows([2, 0, 2, 1])
    # The first prompt has a file, and a batch needs each of the others once.
    assert ToyGenerator.encoded == [PROMPTS[2], PROMPTS[1]]
    whole = ToyGenerator("random", 4).encode(PROMPTS).rows([2, 0, 2, 1])
    assert torch.equal(rows.tensors["shade"], whole.tensors["shade"])
    assert rows.prompts == whole.prompts
    assert files(tmp_path) == [kept]


def test_text_encoders_that_stay_in_training_count_as_memory() -> None:
    registry = declared(REPOSITORY / "workflows")
    flux = text_encoder_bytes(registry.models["flux_schnell"])
    # CLIP's and T5's, in bfloat16.
    assert 9.6e9 < flux < 9.9e9
    assert text_encoder_bytes(registry.models["tiny_sd"]) == 0


def test_processes_encode_a_part_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_the_barrier = []
    monkeypatch.setattr(
        Processes, "wait", lambda _self: at_the_barrier.append(list(ToyGenerator.encoded))
    )
    generator = stored(tmp_path)
    prepare(generator, PROMPTS[:3], Processes(rank=1, count=2))
    assert at_the_barrier == [list(PROMPTS[1:3])]
    assert sorted(ToyGenerator.encoded) == sorted(PROMPTS[:3])


@pytest.mark.parametrize(
    "changes",
    [{"weights": "./other"}, {"arguments": {"gain": 2.0}}, {"version": 2}, {"name": "b"}],
)
def test_other_weights_or_options_have_other_encodings(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    stored(tmp_path).encode(PROMPTS[:1])
    stored(tmp_path, **changes).encode(PROMPTS[:1])
    assert ToyGenerator.encoded == [PROMPTS[0]] * 2


@pytest.mark.parametrize("package", ["torch", "diffusers", "transformers", "tokenizers"])
def test_another_version_of_what_encodes_has_other_encodings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    stored(tmp_path).encode(PROMPTS[:1])
    monkeypatch.setattr(identity, "packages", lambda: packages() | {package: "0.0"})
    stored(tmp_path).encode(PROMPTS[:1])
    stored(tmp_path).encode(PROMPTS[:1])
    assert ToyGenerator.encoded == [PROMPTS[0]] * 2


def test_a_damaged_file_is_reported_and_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = stored(tmp_path).encode(PROMPTS[:2]).tensors["shade"]
    torn = files(tmp_path)[0]
    torn.write_bytes(torn.read_bytes()[:-3])
    found = stored(tmp_path).encode(PROMPTS[:2]).tensors["shade"]
    assert torch.equal(found, expected)
    assert f"{torn} is damaged" in capsys.readouterr().err
    assert len(ToyGenerator.encoded) == 3
    assert stored(tmp_path).encode(PROMPTS[:2]) and len(ToyGenerator.encoded) == 3


def test_a_kill_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.build.encodings.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path).encode(PROMPTS[:1])
    assert not files(tmp_path)


def test_a_generator_with_stored_encodings_can_be_copied(tmp_path: Path) -> None:
    generator = stored(tmp_path)
    again = copy.deepcopy(generator)
    assert again.size_px == generator.size_px
    assert again.backbone is not generator.backbone


def test_the_folder_does_not_change_what_a_job_is(tmp_path: Path) -> None:
    job = generate_job(tmp_path)
    moved = dataclasses.replace(job, model=dataclasses.replace(MODEL, encodings="elsewhere"))
    assert job_hash(moved) == job_hash(job)


def test_a_job_draws_the_same_images_from_stored_encodings(tmp_path: Path) -> None:
    plain, kept = tmp_path / "plain", tmp_path / "kept"
    generate.run(generate_job(plain))
    model = dataclasses.replace(MODEL, encodings=str(tmp_path / "encodings"))
    generate.run(generate_job(kept, model=model))
    assert pixels(plain) == pixels(kept)
    assert len(files(tmp_path / "encodings")) == 3


def test_a_method_that_words_prompts_finds_the_text_encoders_in_place(tmp_path: Path) -> None:
    rewording = MethodSpec(
        "prompt_search",
        "hypernoise.methods.rewording:grammar_search",
        version=1,
        arguments={"proposals": 2, "rounds": 2},
        needs_reward=True,
    )
    model = dataclasses.replace(MODEL, encodings=str(tmp_path / "encodings"))
    job = generate_job(tmp_path, model=model, method=rewording, reward=REWARD)
    generate.run(job)
    scored = frames.read(Path(job.out).with_name(generate.TRAJECTORIES_FILE), "trajectories")
    reworded = set(scored["prompt"]) - {*PROMPTS}
    assert reworded
    # Nobody asks for the reworded ones again.
    assert len(files(tmp_path / "encodings")) == 3


def test_encoders_that_are_kept_read_known_prompts_and_encode_new_ones(tmp_path: Path) -> None:
    generator = stored(tmp_path)
    generator.prepare(PROMPTS[:2], keep_encoders=True)
    assert torch.equal(
        generator.encode(PROMPTS[:2]).tensors["shade"],
        stored(tmp_path).encode(PROMPTS[:2]).tensors["shade"],
    )
    assert ToyGenerator.encoded == list(PROMPTS[:2])
    late = generator.encode([PROMPTS[1], "a late prompt"])
    plain = ToyGenerator("random", 4).encode([PROMPTS[1], "a late prompt"])
    assert torch.equal(late.tensors["shade"], plain.tensors["shade"])
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("spec", BY_FAMILY.values(), ids=lambda spec: spec.name)
def test_every_family_draws_the_same_without_its_text_encoders(spec: Any, tmp_path: Path) -> None:
    plain = small_generator(spec, torch.bfloat16)
    noise, prompts = noise_for(plain, 2), ["a red circle", "two blue moons"]
    with torch.no_grad():
        conditioning = plain.encode(prompts)
        expected = plain.sample(noise, conditioning, 1, SEEDS)
        predicted = plain.predict(noise, conditioning)
    keeping: Any = encoded_once(
        plain, dataclasses.replace(spec, encodings=str(tmp_path / spec.name)), "cpu"
    )
    assert isinstance(keeping, EncodedOnce)
    keeping.prepare(prompts)
    components = keeping.pipeline.components.items()
    assert not any(part for name, part in components if name.startswith("text_encoder"))
    with torch.no_grad():
        read = keeping.encode(prompts)
        assert torch.equal(keeping.sample(noise, read, 1, SEEDS), expected)
        assert torch.equal(keeping.predict(noise, read), predicted)
    with pytest.raises(ValueError, match="'a late prompt' was not encoded before"):
        keeping.encode(["a late prompt"])
