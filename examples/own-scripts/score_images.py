"""What image files are worth by a reward or benchmark: its name, then prompt and file in turn."""

from __future__ import annotations

import sys

from harness.scorers import load

if __name__ == "__main__":
    name, *given = sys.argv[1:]
    score = load(name)  # "shapeworld", "matcher", "hpsv2_1", "imagereward", "geneval", ...
    frame = score(given[1::2], given[::2])
    print(frame.to_string())
