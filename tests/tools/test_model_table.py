"""The page of models says what the declarations and the stored facts say."""

from __future__ import annotations

import pytest
from paths import REPOSITORY

from harness.experiment.component_files import declared
from tools.model_table import PAGE, row, with_rows

REGISTRY = declared(REPOSITORY / "workflows")
TEXT = (REPOSITORY / PAGE).read_text(encoding="utf-8")
MODELS = {s.name: s for s in REGISTRY.models.values() if s.architecture and not s.is_random}


def test_every_published_model_has_a_line() -> None:
    lines = [line.split(" | ")[0].removeprefix("| ") for line in TEXT.splitlines()]
    assert [name for name in MODELS if lines.count(name) != 1] == []


# One model per architecture: its networks are made, if without memory.
@pytest.mark.parametrize("name", {s.architecture: s.name for s in MODELS.values()}.values())
def test_a_models_line_is_what_is_declared_counted_and_known(name: str) -> None:
    assert row(MODELS[name], REGISTRY) in TEXT.splitlines()


def test_rows_are_written_below_the_header_and_nothing_else_is_touched() -> None:
    rows = [line for line in TEXT.splitlines() if line.split(" | ")[0][2:] in MODELS]
    assert with_rows(TEXT, rows) == TEXT
    assert with_rows(with_rows(TEXT, ["| a |"]), rows) == TEXT
    with pytest.raises(ValueError, match="lacks the table"):
        with_rows("nothing", rows)
