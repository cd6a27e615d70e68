"""Compare a recording of published sizes with ours:

    PYTHONPATH=.:tests/support python -m parity.compare_full NAME FILE FOLDER

FOLDER takes a checkpoint of the published size and name, which is loaded as a published one is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from parity import small
from parity.pairs import pairs
from recorded_scorers import TARGETS, checkpoint

from harness.base.import_strings import resolve


def main() -> None:
    name, file, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    recorded = json.loads(file.read_text(encoding="utf-8"))
    weights = checkpoint(recorded["weights"], folder / f"{name}{recorded['format']}")
    arguments: dict[str, Any] = {"weights": weights}
    if name == "imagereward":
        vocabulary = folder / "vocab.txt"
        vocabulary.write_text("\n".join(small.bert_vocabulary()), encoding="utf-8")
        arguments["vocabulary"] = str(vocabulary)
    scorer = resolve(TARGETS[name])(**arguments)
    differences = []
    for case, image, prompt in pairs():
        expected = recorded["scores"][case]
        if expected is not None:
            with torch.no_grad():
                ours = float(scorer.score_pil([image], scorer.encode([prompt]))[0])
            differences.append(abs(ours - expected))
            print(f"{case}: {ours:.6f}, original {expected:.6f}")
    spread = [score for score in recorded["scores"].values() if score is not None]
    print(
        f"{name}: max difference {max(differences):.2e}, n {len(differences)}, "
        f"scores {min(spread):.4f} to {max(spread):.4f}"
    )


if __name__ == "__main__":
    main()
