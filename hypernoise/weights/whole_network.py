"""Networks of transformers, loaded whole or not at all."""

from __future__ import annotations

import re
from typing import Any


def hush_transformers() -> None:
    """No bars while transformers loads weights: they would bury the line that counts images."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def whole_network(kind: Any, weights: str, unused: str = "", **options: Any) -> Any:
    """A network of transformers with every weight read from a folder or the hub.

    Args:
        kind: the class, which has ``from_pretrained``.
        weights: folder or hub name.
        unused: pattern of names of weights that its forward pass leaves alone.
        options: of ``from_pretrained``.

    Raises:
        ValueError: a weight is missing; transformers would draw it at random, and warn.
    """
    hush_transformers()
    network, loaded = kind.from_pretrained(weights, output_loading_info=True, **options)
    missing = sorted(loaded["missing_keys"])
    lacking = [name for name in missing if not (unused and re.search(unused, name))]
    if lacking:
        raise ValueError(
            f"{weights} lacks {len(lacking)} weights of {kind.__name__}, the first is {lacking[0]}"
        )
    return network
