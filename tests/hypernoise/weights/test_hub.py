"""What the hub may answer, and what the user is told before anything long starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from harness_toys import generate_job
from huggingface_hub import errors
from published import published
from safetensors.torch import save_file

from harness.cli import preflight
from harness.experiment.components import Registry
from harness.experiment.validation import to_json
from hypernoise.weights import hub
from hypernoise.weights.hub import check_network, check_repository

BY_NAME = {spec.name: spec for spec in published()}
SPEC, PIXART = BY_NAME["sd_turbo"], BY_NAME["pixart_alpha_dmd"]
COMMIT = SPEC.revision
LISTING = ["model_index.json", "unet/config.json", "unet/model.safetensors"]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    for check in (check_repository, check_network):
        check.cache_clear()
    yield
    for check in (check_repository, check_network):
        check.cache_clear()


class Response:
    """As much of an HTTP response as the client's errors read."""

    headers: dict[str, str] = {}  # noqa: RUF012
    request = None


def remote(kind: Any) -> Exception:
    error: Exception = kind("refused", response=Response())
    return error


def raising(error: Exception) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cached snapshot that holds the index of a pipeline with one network, and no weights."""
    index = tmp_path / "snapshot" / "model_index.json"
    index.parent.mkdir()
    index.write_text(json.dumps({"unet": ["diffusers", "UNet2DConditionModel"]}))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(index))
    return index.parent


def answer_listing(monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", call)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (remote(errors.GatedRepoError), ["gated", "accept its terms", "hf auth login"]),
        (remote(errors.RevisionNotFoundError), ["no revision", COMMIT]),
        (remote(errors.RepositoryNotFoundError), ["no repository stabilityai/sd-turbo"]),
        (remote(errors.RemoteEntryNotFoundError), ["no diffusers pipeline", "model_index.json"]),
        (errors.LocalEntryNotFoundError("offline"), ["out of reach", "hf download", "HF_HOME"]),
        (errors.OfflineModeIsEnabled("offline"), ["out of reach", "hf download", COMMIT]),
        (remote(errors.HfHubHTTPError), ["out of reach", "HfHubHTTPError"]),
    ],
)
def test_an_error_of_the_hub_says_what_to_do_before_any_job(
    error: Exception,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", raising(error))
    job = generate_job(tmp_path, model=SPEC)
    with pytest.raises(ValueError) as fault:
        preflight.run([f"generate\t{to_json(job)}\n"])
    message = str(fault.value)
    assert message.startswith("weights of model 'sd_turbo': ")
    assert all(word in message for word in words), message


def test_a_revision_that_is_no_commit_is_refused_without_asking_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", raising(AssertionError("asked")))
    with pytest.raises(ValueError, match=r"revision 'main' .*40 hexadecimal digits"):
        check_repository("stabilityai/sd-turbo", "main")


@pytest.mark.parametrize(
    ("revision", "is_commit"),
    [
        (COMMIT, True),
        ("main", False),
        (COMMIT[:-1], False),
        (COMMIT + "0", False),
        (COMMIT.upper(), False),
        (COMMIT + "\n", False),
    ],
)
def test_declarations_and_the_hub_agree_on_what_a_commit_is(revision: str, is_commit: bool) -> None:
    # Declarations are read without torch, which every import of hypernoise brings.
    def declare() -> None:
        target = "hypernoise.models.unet:SdTurbo"
        Registry().add_model(
            "sd", target=target, weights="a/b", revision=revision, size_px=512, version=1
        )

    for check in (declare, lambda: hub.check_commit("a/b", revision)):
        with nullcontext() if is_commit else pytest.raises(ValueError, match="is no commit"):
            check()


def test_a_folder_with_a_revision_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    with pytest.raises(ValueError, match="owner/name is a folder here"):
        check_repository("owner/name", COMMIT)


def test_a_complete_snapshot_is_not_looked_up(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_listing(monkeypatch, raising(AssertionError("asked")))
    (snapshot / "unet").mkdir()
    (snapshot / "unet" / "config.json").write_text("{}")
    save_file({"weight": torch.ones(2)}, snapshot / "unet" / "model.safetensors")
    check_repository("owner/name", COMMIT)


def test_an_incomplete_snapshot_without_a_connection_is_no_pipeline(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_listing(monkeypatch, raising(hub.errors.HTTPError("no route")))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"not \(completely\) in the local cache.*HTTPError"):
        check_repository("owner/name", COMMIT)


def test_safetensors_in_the_hub_pass_and_are_looked_up_once(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    answer_listing(monkeypatch, lambda *_, **__: asked.append(1) or LISTING)
    check_repository("owner/name", COMMIT)
    check_repository("owner/name", COMMIT)
    assert len(asked) == 1


def test_pickles_in_the_hub_are_refused(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = [name.replace(".safetensors", ".bin") for name in LISTING]
    answer_listing(monkeypatch, lambda *_, **__: pickled)
    with pytest.raises(ValueError, match=r"owner/name/unet has pickled weights only .*safetensors"):
        check_repository("owner/name", COMMIT)


def test_a_variant_that_the_hub_lacks_is_named(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_listing(monkeypatch, lambda *_, **__: LISTING)
    with pytest.raises(ValueError, match="no files of the variant 'fp16'"):
        check_repository("owner/name", COMMIT, "fp16")


def test_a_truncated_file_in_the_cache_is_named(snapshot: Path) -> None:
    unet = snapshot / "unet"
    unet.mkdir()
    (unet / "config.json").write_text("{}")
    (unet / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated"):
        check_repository("owner/name", COMMIT)
    shutil.rmtree(unet)


def preflight_of_pixart(tmp_path: Path) -> None:
    preflight.run([f"generate\t{to_json(generate_job(tmp_path, model=PIXART))}\n"])


@pytest.fixture
def distilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cached snapshot of the second repository: the transformer's config and no weights."""
    folder = tmp_path / "distilled" / "transformer"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    asked = (PIXART.arguments["distilled"], "transformer/config.json")

    def download(repository: str, file: str, revision: str) -> str:
        assert (repository, file) == asked
        assert revision == PIXART.arguments["distilled_revision"]
        return str(folder / "config.json")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr("harness.build.generators.check_pipeline", lambda *_: None)
    monkeypatch.setattr("harness.build.generators.check_memory", lambda *_: None)
    return folder


def test_the_second_repository_of_a_model_is_checked_too(
    distilled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_listing(monkeypatch, lambda *_, **__: ["transformer/config.json", "a.safetensors"])
    with pytest.raises(ValueError, match=r"'pixart_alpha_dmd': no safetensors .*/transform"):
        preflight_of_pixart(tmp_path)
    answer_listing(monkeypatch, lambda *_, **__: ["transformer/model.bin"])
    with pytest.raises(ValueError, match=r"DMD-XL-2-512x512/transformer has pickled weights only"):
        preflight_of_pixart(tmp_path)
    answer_listing(monkeypatch, raising(errors.OfflineModeIsEnabled("offline")))
    with pytest.raises(ValueError, match=r"DMD-XL-2-512x512 at \w+ is not .*hf download"):
        preflight_of_pixart(tmp_path)
    save_file({"weight": torch.ones(2)}, distilled / "model.safetensors")
    preflight_of_pixart(tmp_path)


def test_a_repository_without_the_networks_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = remote(errors.RemoteEntryNotFoundError)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", raising(error))
    with pytest.raises(ValueError, match=r"owner/name lacks a file at \w+: unet/config\.json"):
        check_network("owner/name", COMMIT, "unet")
    with pytest.raises(ValueError, match=r"no commit.*huggingface\.co/owner/name/commits"):
        check_network("owner/name", "main")
