"""Ask `python -m harness serve --rewards NAME ...` what images are worth. Standard library only."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen


def score(url: str, prompts: list[str], files: list[str], token: str = "") -> dict[str, Any]:
    """Scores and details of image files, each against its prompt."""
    images = [base64.b64encode(Path(file).read_bytes()).decode() for file in files]
    body = json.dumps({"prompts": prompts, "images": images}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with urlopen(Request(url, body, headers), timeout=600) as answer:
        return json.load(answer)


if __name__ == "__main__":
    url, *given = sys.argv[1:]
    for row in score(url, given[::2], given[1::2])["scores"]:
        print(row)
