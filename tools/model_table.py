"""Write docs/models.md's table anew: facts of every published model, each from where it is kept.

Nothing is downloaded and nothing allocated: networks are made on the meta device.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from harness.build.generators import build_generator
from harness.build.memory_peaks import RECORDED, find
from harness.experiment.component_files import declared
from harness.experiment.components import RANDOM_WEIGHTS, ModelSpec, Registry
from harness.experiment.pins import downloads
from harness.experiment.publishers import known
from hypernoise.models.random_weights import n_parameters
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.weights.lora_layouts import COMPONENTS
from tools import command

PAGE = Path("docs/models.md")
_HEADER = (
    "| model | weights | px | steps | backbone, 10⁶ | pipeline, 10⁶ | noise network, 10⁶ | "
    "training step, GiB | licence | access |"
)
_UNKNOWN = "-"


def row(spec: ModelSpec, registry: Registry) -> str:
    """The line of a model with an architecture; a noise network's rank is that of the paper."""
    counts = n_parameters(spec.architecture)
    backbone = sum(counts.get(name, 0) for name in COMPONENTS)
    random = replace(spec, weights=RANDOM_WEIGHTS, revision="", encodings="")
    generator = build_generator(random, "meta")
    with torch.device("meta"):
        network = NoiseNetwork(generator, RECORDED.rank, RECORDED.alpha)
    peak = find(spec, RECORDED.changed(gradient_checkpointing=True))
    facts = [known(found.place) for found in downloads(registry) if found.name == spec.name]
    said = [
        spec.name,
        spec.weights,
        str(spec.size_px),
        str(spec.steps),
        *(f"{count / 1e6:.1f}" for count in (backbone, sum(counts.values()), network.n_parameters)),
        f"{peak.gib(1):.1f}" if peak else _UNKNOWN,
        "; ".join(dict.fromkeys(fact.licence or "unknown" for fact in facts)),
        "; ".join(dict.fromkeys(fact.access for fact in facts)),
    ]
    return f"| {' | '.join(said)} |"


def with_rows(page: str, rows: Sequence[str]) -> str:
    """The page with other rows below its table's header.

    Raises:
        ValueError: it has no such table.
    """
    before, header, after = page.partition(_HEADER)
    if not header:
        raise ValueError(f"{PAGE} lacks the table that begins with {_HEADER!r}")
    rule = "|---" * (_HEADER.count("|") - 1) + "|"
    rest = after.lstrip("\n").split("\n\n", 1)[1:]
    return "\n\n".join([before + "\n".join([header, rule, *rows]), *rest])


def run() -> None:
    """Write the page's table."""
    registry = declared(Path("workflows"))
    models = [spec for spec in registry.models.values() if spec.architecture and not spec.is_random]
    rows = [row(spec, registry) for spec in models]
    PAGE.write_text(with_rows(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


def main(given: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return command.main(command.parser_of("model_table", __doc__), run, given)


if __name__ == "__main__":
    sys.exit(main())
