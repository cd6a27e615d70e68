"""Pick-a-Pic's prompts: one column of the hub's files, each once, none that is evaluated on."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from local_hub import COMMIT, GATED, HIDDEN, LocalHub, Repository
from pyarrow import parquet

from harness.benchmarks.training_prompts import PICK_A_PIC, facts_of, pick_a_pic
from harness.build import data_files
from harness.cli.command_line import main

SET = "someone/pickapic"
FILES = ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet")
OTHER = "data/validation-00000-of-00001.parquet"
#: The columns of Pick-a-Pic v2 beside the captions.
TEXTS = ("best_image_uid", "image_0_uid", "image_1_uid", "image_0_url", "image_1_url", "model_0")
IMAGE_BYTES = 200_000


def rows(captions: Sequence[str | None]) -> bytes:
    """A parquet file of the data set's schema, with its images, in row groups of two."""
    noise = np.random.default_rng(0)
    n = len(captions)
    columns: dict[str, Any] = {name: [f"{name} {row}" for row in range(n)] for name in TEXTS}
    columns |= {f"jpg_{side}": [noise.bytes(IMAGE_BYTES) for _ in range(n)] for side in (0, 1)}
    columns |= {"label_0": [1.0] * n, "ranking_id": list(range(n)), "has_label": [True] * n}
    columns["caption"] = pa.array(list(captions), pa.string())
    written = io.BytesIO()
    parquet.write_table(pa.table(columns), written, row_group_size=2)
    return written.getvalue()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    files = {
        FILES[0]: rows(["a red  cat\nsleeping", "A photo of a bench.", "A red cat, sleeping!"]),
        FILES[1]: rows(["a blue dog", None, "", "a photo of a BENCH", "a red cat sleeping"]),
        OTHER: rows(["never trained on"]),
    }
    with LocalHub({f"datasets/{SET}": Repository(files)}) as made:
        template = made.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", made.address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
        yield made


def fetch(*more: str, revision: str = COMMIT) -> int:
    apart = ("--apart-from", "pinned_toys:evaluated")
    return main(["pick-a-pic", "--repository", SET, "--revision", revision, *apart, *more])


def test_captions_are_taken_once_and_without_those_that_are_evaluated_on(
    server: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch() == 0
    path = tmp_path / PICK_A_PIC
    assert path.read_text().splitlines() == ["a red cat sleeping", "a blue dog"]
    facts = json.loads(facts_of(path).read_text())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["sha256"] == sha256
    assert sha256 in capsys.readouterr().out
    assert (facts["commit"], facts["files"]) == (COMMIT, list(FILES))
    # Rows without a caption are none.
    assert (facts["rows"], facts["prompts"], facts["left_out_because_evaluated_on"]) == (6, 2, 1)
    assert [prompt.text for prompt in pick_a_pic()] == ["a red cat sleeping", "a blue dog"]


def test_only_the_ranges_of_the_column_are_read(server: LocalHub) -> None:
    assert fetch() == 0
    images = 2 * 8 * IMAGE_BYTES
    assert 0 < server.sent_bytes < images / 4
    whole = [asked for asked in server.asked if asked.startswith("GET") and OTHER in asked]
    assert not whole


def test_a_list_that_was_changed_since_is_refused(server: LocalHub, tmp_path: Path) -> None:
    assert fetch() == 0
    with (tmp_path / PICK_A_PIC).open("a") as file:
        file.write("another prompt\n")
    with pytest.raises(ValueError, match=r"prompts\.txt has the SHA-256 .*prompts\.json is of"):
        pick_a_pic()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"error": GATED}, "is gated: accept its terms at .*datasets/someone/pickapic.*HF_TOKEN"),
        ({"error": HIDDEN}, "the hub has no repository datasets/someone/pickapic"),
        ({"files": {"README.md": b"moved"}}, r"has no file data/train-\*\.parquet .*README\.md"),
        ({"files": {FILES[0]: rows(["a"])[:-9] + b"truncated"}}, "parquet|Parquet|corrupt|magic"),
    ],
)
def test_a_set_that_is_gated_gone_moved_or_broken_is_said_in_a_line(
    server: LocalHub,
    change: dict[str, Any],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repository = server.repositories[f"datasets/{SET}"]
    for name, value in change.items():
        setattr(repository, name, value)
    assert fetch() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(words, error), error
    assert not (tmp_path / PICK_A_PIC).exists()


def test_a_branch_another_commit_or_an_unknown_column_is_refused(
    server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(revision="main") == 2
    assert "is no commit" in capsys.readouterr().err
    assert fetch(revision="f" * 40) == 2
    assert f"has no revision {'f' * 40}" in capsys.readouterr().err
    assert fetch("--column", "prompt") == 2
    assert "has no column 'prompt' (has: " in capsys.readouterr().err


def test_the_default_set_is_one_whose_files_are_known() -> None:
    from harness.cli import verbs
    from harness.experiment.publishers import publishers

    known = publishers()[f"datasets/{verbs._PICKS}"]
    assert known.commit == verbs._PICKS_COMMIT
    assert [name for name in known.sizes if name.startswith("data/train-")]
