"""Weight files of the embedded world's reward and judge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from hypernoise.weights.folders import check_file
from hypernoise.weights.pins import located


class Network(Protocol):
    """A network with the arguments that it was made with."""

    config: dict[str, Any]

    def state_dict(self) -> Mapping[str, Any]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


N = TypeVar("N", bound=nn.Module)


def save_network(network: Network, path: Path, facts: Mapping[str, str]) -> None:
    """Save weights in half precision, with the network's class, arguments and facts in the
    header."""
    tensors = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    header = {"network": type(network).__name__, "config": json.dumps(network.config), **facts}
    save_file(tensors, path, metadata=header)


def load_network(path: Path, kind: type[N]) -> N:
    """Load a frozen network of a class in float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, or holds something else.
    """
    path = located(path)
    check_file(path)
    with safe_open(path, framework="pt") as handle:
        header = handle.metadata() or {}
    if header.get("network") != kind.__name__ or "config" not in header:
        raise ValueError(
            f"weight file {path} holds no {kind.__name__}: its header names "
            f"{header.get('network', 'no network')!r}"
        )
    network = kind(**json.loads(header["config"]))
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return network.requires_grad_(False).eval()
