"""Noise hypernetworks and their rivals: the method, without files, tables or workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypernoise.torchvision_repair import install

if TYPE_CHECKING:
    from hypernoise.networks.noise_network import NoiseNetwork

__all__ = ["NoiseNetwork"]

# The one thing that happens at import: diffusers and transformers import torchvision, which a
# CPU torch cannot load unrepaired.
install()


def __getattr__(name: str) -> Any:
    """What scripts import from here, brought when it is asked for: torch takes seconds."""
    if name == "NoiseNetwork":
        from hypernoise.networks.noise_network import NoiseNetwork

        return NoiseNetwork
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
