"""Text that others wrote, read as it is meant; standard library only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_text(path: str | Path, keep_ends: bool = False) -> str:
    """A file's text; the byte-order mark that Excel and Notepad write is no part of it.

    Args:
        keep_ends: leave the ends of lines as they are; otherwise every one is a newline.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8; names the file and the line.
    """
    content = Path(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 ({error}); save it as UTF-8") from error
    return text if keep_ends else text.replace("\r\n", "\n").replace("\r", "\n")


def lines_of(path: str | Path) -> list[str]:
    r"""A file's lines, without their ends, as every tool counts them; raises as :func:`read_text`.

    ``str.splitlines`` ends lines at U+2028, U+0085 and others, too, which may stand in a text, and
    raw in a JSON string.
    """
    lines = read_text(path).split("\n")
    return lines if lines[-1] else lines[:-1]


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8, or no JSON; names the file.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON, or cut off: {error}") from error
