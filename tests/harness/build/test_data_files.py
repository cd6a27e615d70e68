"""Published files: from a folder, or downloaded and checked."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path

import pytest

from harness.build import data_files
from harness.build.data_files import DataFile, locate

CONTENTS = b"a photo of a bench\n"
FILE = DataFile(
    name="geneval/prompts.txt",
    repository="someone/geneval",
    commit="af4902f",
    path="prompts/prompts.txt",
    sha256=hashlib.sha256(CONTENTS).hexdigest(),
)


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DataFile:
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    return FILE


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
    file: DataFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer(monkeypatch, CONTENTS)
    (tmp_path / "geneval").mkdir()
    (tmp_path / file.name).write_bytes(CONTENTS)
    assert locate(file).read_bytes() == CONTENTS
    assert asked == []


def test_a_missing_file_is_downloaded_once(
    file: DataFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer(monkeypatch, CONTENTS)
    assert locate(file) == locate(file) == tmp_path / file.name
    assert locate(file).read_bytes() == CONTENTS
    assert asked == ["https://github.com/someone/geneval/raw/af4902f/prompts/prompts.txt"]
    assert [path.name for path in (tmp_path / "geneval").iterdir()] == ["prompts.txt"]


def test_a_wrong_file_is_refused_with_both_hashes_and_not_kept(
    file: DataFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, b"something else")
    with pytest.raises(
        ValueError, match=rf"github\.com.* has the SHA-256 \w+, expected {file.sha256}"
    ):
        locate(file)
    assert list((tmp_path / "geneval").iterdir()) == []
    (tmp_path / file.name).write_bytes(b"something else")
    with pytest.raises(
        ValueError, match=rf"prompts\.txt .*the SHA-256 \w+, expected {file.sha256}"
    ):
        locate(file)


def test_without_network_the_message_says_what_to_do(
    file: DataFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, urllib.error.URLError("no route"))
    with pytest.raises(FileNotFoundError, match=r"no route.*put the file there.*HYPERNOISE_DATA"):
        locate(file)
