"""The reference of the command line is what its parser says."""

from __future__ import annotations

import re

from paths import REPOSITORY

from harness.cli.verbs import COMMANDS, JOB_VERBS
from tools import cli_page


def test_the_reference_of_the_command_line_is_current() -> None:
    written = (REPOSITORY / cli_page.PAGE).read_text(encoding="utf-8")
    assert written == cli_page.page(), "`make reference` writes it anew"


def test_the_reference_says_every_verb_and_what_each_option_means() -> None:
    text = cli_page.page()
    assert set(re.findall(r"^## `([\w-]+)`", text, re.MULTILINE)) == COMMANDS.keys()
    assert (
        set(re.findall(r"^\| `([a-z]\w*)` \|", text, re.MULTILINE))
        == JOB_VERBS.keys() - COMMANDS.keys()
    )
    rows = re.findall(r"^\| `.*", text, re.MULTILINE)
    assert len(rows) > 60
    assert not [row for row in rows if row.endswith("|  |") and "/" not in row and "--" in row]
    for command in COMMANDS.values():
        for name, given in command.options:
            shown = name if name.startswith("-") else str(given.get("metavar", name)).upper()
            assert re.search(rf"^\| `{shown}` \|", text, re.MULTILINE)
