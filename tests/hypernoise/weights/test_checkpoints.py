"""Weights named with their hash: what is refused, and that published forms load."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import torch
from accelerate import init_empty_weights
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import nn

from hypernoise.weights.hub import check_file
from hypernoise.weights.pinned_files import PinnedFile, fill, read, refusals_kept
from hypernoise.weights.pins import Missing

HASH = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, path)
    return path


def test_a_file_with_the_right_hash_is_used_where_it_is(file: Path) -> None:
    assert PinnedFile.parse(f"{file}#sha256={digest(file)}").fetch() == file


def test_a_local_file_may_go_without_a_hash(file: Path) -> None:
    assert PinnedFile.parse(str(file)).fetch() == file


def test_a_wrong_hash_stops_with_both_hashes(file: Path) -> None:
    pinned = PinnedFile.parse(f"{file}#sha256={HASH}")
    with pytest.raises(ValueError, match=f"{digest(file)}, expected {HASH}"):
        pinned.fetch()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"hf://owner/name@{COMMIT}/file.pt", r"no '#sha256='.*sha256sum"),
        (f"hf://owner/name/file.pt#sha256={HASH}", "owner/name@COMMIT/file"),
        (f"hf://owner/name@main/file.pt#sha256={HASH}", "owner/name@COMMIT/file"),
        (f"hf://owner/name@{COMMIT}/file.pt#sha256=abc", "64 hexadecimal digits, not 'abc'"),
        ("https://host/file.pth", "no '#sha256='"),
        ("weights.pt#sha256=", "64 hexadecimal digits"),
    ],
)
def test_what_could_change_unnoticed_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PinnedFile.parse(text)


def test_a_hub_file_is_asked_for_by_repository_commit_and_path(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def download(repository: str, path: str, revision: str) -> str:
        asked.append((repository, path, revision))
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    place = f"hf://owner/name@{COMMIT}/folder/file.pt"
    assert PinnedFile.parse(f"{place}#sha256={digest(file)}").fetch() == file
    assert asked == [("owner/name", "folder/file.pt", COMMIT)]
    with pytest.raises(ValueError, match=f"{digest(file)}, expected {HASH}"):
        PinnedFile.parse(f"{place}#sha256={HASH}").fetch()


def test_a_file_of_the_web_is_downloaded_once_and_checked_every_time(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(address: str, path: str, progress: bool) -> None:
        asked.append(address)
        Path(path).write_bytes(file.read_bytes())

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "cache"))
    pinned = PinnedFile.parse(f"https://host/weights.safetensors#sha256={digest(file)}")
    assert pinned.fetch().read_bytes() == pinned.fetch().read_bytes() == file.read_bytes()
    assert asked == ["https://host/weights.safetensors"]
    pinned.fetch().write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"expected {digest(file)}"):
        pinned.fetch()


def test_a_file_that_the_web_does_not_give_says_what_to_do_and_leaves_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(address: str, path: str, progress: bool) -> None:
        Path(path).write_bytes(b"a part")
        raise URLError("no route")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    pinned = PinnedFile.parse(f"https://host/weights.safetensors#sha256={digest(file)}")
    with pytest.raises(FileNotFoundError, match=r"kept/weights.* no route.*put the file there"):
        pinned.fetch(tmp_path / "kept" / "weights.safetensors")
    assert list((tmp_path / "kept").iterdir()) == []


def test_the_hub_is_asked_for_a_files_hash_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [SimpleNamespace(etag=HASH), SimpleNamespace(etag="0" * 64), LocalEntryNotFoundError]

    def head(address: str) -> Any:
        assert address == f"https://huggingface.co/owner/name/resolve/{COMMIT}/file.pt"
        answer = answers.pop(0)
        if answer is LocalEntryNotFoundError:
            raise LocalEntryNotFoundError("offline")
        return answer

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", head)
    pinned = PinnedFile.parse(f"hf://owner/name@{COMMIT}/file.pt#sha256={HASH}")
    check_file.cache_clear()
    pinned.check()
    pinned.check()
    for message in (f"has the SHA-256 {'0' * 64} at {COMMIT}, expected {HASH}", "out of reach"):
        check_file.cache_clear()
        with pytest.raises(ValueError, match=message):
            pinned.check()
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(file))
    pinned.check()
    check_file.cache_clear()
    assert answers == []


@pytest.mark.parametrize("name", ["missing.pt", "missing.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        PinnedFile.parse(str(tmp_path / name)).check()


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_a_truncated_file_is_found_without_loading_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    tensors = {"weight": torch.ones(1000)}
    if path.suffix == ".pt":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=f"{name} is truncated"):
        PinnedFile.parse(str(path)).check()


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pytorch_file_is_read_with_or_without_its_wrapping(tmp_path: Path, wrapped: bool) -> None:
    path = tmp_path / "weights.pt"
    tensors = {"weight": torch.arange(3.0)}
    torch.save({"state_dict": tensors, "epoch": 3} if wrapped else tensors, path)
    assert read(path)["weight"].tolist() == [0, 1, 2]


class Surprise:
    def __reduce__(self) -> Any:
        return (print, ("this must never run",))


def test_a_pytorch_file_that_would_run_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": Surprise()}, path)
    with pytest.raises(ValueError, match="holds more than tensors"):
        read(path)
    assert "never" not in capsys.readouterr().out


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save([1, 2, 3], path)
    with pytest.raises(ValueError, match="no dictionary of tensors"):
        read(path)


def empty_linear() -> nn.Linear:
    with init_empty_weights():
        return nn.Linear(3, 2)


def test_half_precision_weights_become_a_frozen_float32_network(file: Path) -> None:
    network = empty_linear()
    fill(network, {name: value.half() for name, value in read(file).items()}, "here")
    assert network(torch.ones(1, 3)).tolist() == [[3.0, 3.0]]
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "missing bias, unexpected nothing"),
        ({"scale": torch.ones(1)}, "missing nothing, unexpected scale"),
        ({"bias": torch.ones(3)}, r"bias has the shape \(3,\), expected \(2,\)"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(
    file: Path, change: dict[str, Any], message: str
) -> None:
    changed = {**read(file), **change}
    tensors = {name: value for name, value in changed.items() if value is not None}
    with pytest.raises(ValueError, match=f"weights here do not fit Linear: {message}"):
        fill(empty_linear(), tensors, "here")


def test_a_host_that_gives_no_answer_is_asked_once_while_refusals_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def silent(address: str, *_: object, **__: object) -> None:
        asked.append(address)
        assert socket.getdefaulttimeout() is not None
        raise URLError(TimeoutError("no word"))

    monkeypatch.setattr("torch.hub.download_url_to_file", silent)
    files = [PinnedFile(f"https://{host}/{name}", "0" * 64) for host in "ab" for name in "xy"]
    with refusals_kept():
        for number, file in enumerate(files):
            with pytest.raises(Missing, match="no word"):
                file.fetch(tmp_path / str(number))
    assert asked == ["https://a/x", "https://b/x"]
    with pytest.raises(Missing):
        files[1].fetch(tmp_path / "again")
    assert len(asked) == 3
    assert socket.getdefaulttimeout() is None
