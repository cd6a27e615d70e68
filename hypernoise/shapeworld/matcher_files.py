"""Weight files of what judges image and caption together: the reward and its judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hypernoise.shapeworld.judge_network import JudgeNetwork
from hypernoise.shapeworld.matcher_network import MatcherNetwork
from hypernoise.weights.folders import check_file

Network: TypeAlias = MatcherNetwork | JudgeNetwork
#: What a file's header may name.
ARCHITECTURES: Mapping[str, type[Network]] = {"attention": MatcherNetwork, "film": JudgeNetwork}


def save_matcher(network: Network, path: Path, facts: Mapping[str, str]) -> None:
    """Save weights in half precision, with the architecture and given facts in the header."""
    tensors = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    name = next(name for name, kind in ARCHITECTURES.items() if isinstance(network, kind))
    header = {"architecture": name, "config": json.dumps(network.config), **facts}
    save_file(tensors, path, metadata=header)


def load_matcher(path: Path) -> Network:
    """Load a frozen network in float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, or holds something else.
    """
    check_file(path)
    with safe_open(path, framework="pt") as handle:
        header = handle.metadata() or {}
    if header.get("architecture") not in ARCHITECTURES or "config" not in header:
        raise ValueError(
            f"weight file {path} is no shape matcher: its header has no 'config', or its "
            f"'architecture' is none of {', '.join(ARCHITECTURES)}"
        )
    network = ARCHITECTURES[header["architecture"]](**json.loads(header["config"]))
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return network.requires_grad_(False).eval()
