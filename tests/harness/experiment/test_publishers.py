"""Facts of what is downloaded: every declared path is one that its repository lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from paths import REPOSITORY
from shared_data import SHARED, needs

from harness.base.errors import SpecError
from harness.benchmarks import dpg
from harness.build import data_files
from harness.build.data_files import places
from harness.experiment import publishers
from harness.experiment.component_files import declared
from harness.experiment.pins import downloads
from harness.experiment.publishers import Publisher, in_bytes, known, source_of, unlisted
from harness.similarity.dinov2 import WEIGHTS
from harness.similarity.lpips import ALEXNET


def test_every_declared_path_is_in_the_listing_of_its_repository_at_its_commit() -> None:
    named = [download.place for download in downloads(declared(REPOSITORY / "workflows"))]
    assert len(named) > 15
    assert unlisted([*named, *places().values(), dpg.QUESTIONS, WEIGHTS, ALEXNET]) == []


def test_the_commit_that_a_declaration_pins_is_the_one_that_was_listed() -> None:
    for download in downloads(declared(REPOSITORY / "workflows")):
        listed = publishers.publishers()[source_of(download.place).publisher].commit
        assert download.declared.commit in ("", listed), download.place


def test_a_path_that_its_repository_lacks_is_named_with_those_that_it_has() -> None:
    [fault] = unlisted([places()["abc6k/ABC-6K.txt"].replace("/ABC-", "/dataset/ABC-")])
    assert "has no dataset/ABC-6K.txt, but ABC-6K.txt" in fault
    [fault] = unlisted([places()["abc6k/ABC-6K.txt"].replace("773b2ba", "0000000")])
    assert "listed at 773b2ba" in fault
    [fault] = unlisted(["https://github.com/no/body/raw/1234567/a.txt"])
    assert "nothing is known of github.com/no/body" in fault


@needs("benchmarks")
def test_sizes_of_published_prompts_are_those_of_the_published_files() -> None:
    compared = 0
    for name, place in places().items():
        path = SHARED / "benchmarks" / name
        if path.is_file():
            assert known(place).size_bytes == path.stat().st_size, name
            compared += 1
    assert compared == 14


def test_sizes_are_of_a_file_or_of_a_whole_repository_and_never_guessed() -> None:
    hpsv2 = "hf://xswu/HPSv2@697403c78157020a1ae59d23f111aa58ced35b0a/HPS_v2.1_compressed.pt"
    assert known(hpsv2) == (1972490005, False, "Apache-2.0", False)
    assert known("stabilityai/sd-turbo").size == "5.16 GB"
    assert known("Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers").size == (
        "at least 5.23 GB"
    )
    assert known("black-forest-labs/FLUX.1-schnell").access == "gated"
    nothing = known("some/body")
    assert (nothing.size, nothing.licence, nothing.access) == ("unknown", "", "unknown")


def test_a_place_of_this_machine_has_no_publisher() -> None:
    with pytest.raises(SpecError, match=r"'\./weights' is no repository"):
        source_of("./weights")


def test_an_unknown_fact_is_refused_with_the_nearest_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "publishers.toml"
    file.write_text('["a/b"]\nlicense = "MIT"\n')
    monkeypatch.setattr(publishers, "FILE", file)
    with pytest.raises(SpecError, match=r"license.*licence"):
        publishers.publishers.__wrapped__()


def test_the_file_of_abc_6k_is_at_the_root_of_its_repository() -> None:
    assert source_of(data_files.places()["abc6k/ABC-6K.txt"]).path == "ABC-6K.txt"


def test_sizes_are_written_in_decimal_units_to_three_digits() -> None:
    assert [in_bytes(n) for n in (0, 999, 999_600, 33_734_000_000, 2.5e12)] == [
        "0 B", "999 B", "1 MB", "33.7 GB", "2.5 TB",
    ]  # fmt: skip
    assert Publisher().gated is None
