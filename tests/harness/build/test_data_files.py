"""Published files: from a folder, or downloaded and checked."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path

import pytest

from harness.build import data_files
from harness.build.data_files import locate

CONTENTS = b"a photo of a bench\n"
NAME = "geneval/prompts.txt"
SHA256 = hashlib.sha256(CONTENTS).hexdigest()
URL = "https://github.com/someone/geneval/raw/af4902f/prompts/prompts.txt"


@pytest.fixture(autouse=True)
def one_published_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    monkeypatch.setattr(data_files, "places", lambda: {NAME: f"{URL}#sha256={SHA256}"})


def answer(monkeypatch: pytest.MonkeyPatch, contents: bytes | Exception) -> list[str]:
    asked: list[str] = []

    def download(url: str, path: str, progress: bool) -> None:
        asked.append(url)
        if isinstance(contents, Exception):
            raise contents
        Path(path).write_bytes(contents)

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    return asked


def test_a_file_in_the_folder_is_read_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer(monkeypatch, CONTENTS)
    (tmp_path / "geneval").mkdir()
    (tmp_path / NAME).write_bytes(CONTENTS)
    assert locate(NAME).read_bytes() == CONTENTS
    assert asked == []


def test_a_missing_file_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, CONTENTS)
    assert locate(NAME) == locate(NAME) == tmp_path / NAME
    assert locate(NAME).read_bytes() == CONTENTS
    assert asked == [URL]
    assert [path.name for path in (tmp_path / "geneval").iterdir()] == ["prompts.txt"]


def test_a_wrong_file_is_refused_with_both_hashes_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, b"something else")
    with pytest.raises(ValueError, match=rf"github\.com.* has the SHA-256 \w+, expected {SHA256}"):
        locate(NAME)
    assert list((tmp_path / "geneval").iterdir()) == []
    (tmp_path / NAME).write_bytes(b"something else")
    with pytest.raises(ValueError, match=rf"prompts\.txt .*the SHA-256 \w+, expected {SHA256}"):
        locate(NAME)


def test_without_network_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, urllib.error.URLError("no route"))
    with pytest.raises(FileNotFoundError, match=r"no route.*put the file there.*HYPERNOISE_DATA"):
        locate(NAME)
