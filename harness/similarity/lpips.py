"""LPIPS: distance of two images in the feature maps of AlexNet, weighted by human judgement.

Source: Zhang et al. 2018, arXiv 1801.03924; version 0.1 of the package ``lpips``, whose layers and
linear weights are used. Both files are read here, as tensors only; the package leaves it to torch's
default whether its files may run code.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lpips  # type: ignore[import-untyped]
import torch
from torch import Tensor

from harness.similarity.protocol import squared_distances
from hypernoise.weights.pinned_files import PinnedFile, read
from hypernoise.weights.stand_ins import Shelf

#: torchvision's AlexNet of ImageNet.
ALEXNET = (
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
    "#sha256=7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
)
_LINEAR = Path("weights", "v0.1", "alex.pth")


class Lpips:
    """LPIPS as a squared distance of vectors.

    The formula is a sum over layers l of the mean over positions of w_l · (a_l - b_l)², where a_l
    and b_l have unit length across channels. With the square root of w_l / positions taken into the
    vectors it is one squared distance, and N images cost N passes instead of N².

    Args:
        weights: AlexNet's checkpoint in torchvision's names
            (:mod:`hypernoise.weights.pinned_files`).
        device: torch device.

    Raises:
        ValueError: a weight is missing, or a linear weight is negative.
        FileNotFoundError: the checkpoint is missing.
    """

    def __init__(self, weights: str = ALEXNET, device: str = "cpu") -> None:
        tensors = read(PinnedFile.parse(weights).fetch())
        network = _network()
        state = {}
        for name, value in network.net.state_dict().items():
            found = tensors.get(_published_name(name))
            if found is None or found.shape != value.shape:
                shape = tuple(value.shape)
                raise ValueError(f"weights {weights} have no {name} of the shape {shape}")
            state[name] = found.float()
        network.net.load_state_dict(state)
        linear = Path(lpips.__file__).parent / _LINEAR
        given = {name.partition(".")[0]: value for name, value in read(linear).items()}
        self._scales = [given[f"lin{layer}"].to(device) for layer in range(network.L)]
        if any(bool((scale < 0).any()) for scale in self._scales):
            raise ValueError(f"{linear} has negative weights: they make no distance")
        self._network = network.requires_grad_(False).eval().to(device)

    @classmethod
    def stand_in(cls, shelf: Shelf, *, weights: str, **_: Any) -> dict[str, Any]:
        """As :class:`hypernoise.weights.stand_ins.HasStandIn` says: AlexNet is small enough."""
        state = _network().net.state_dict().items()
        drawn = {_published_name(name): value for name, value in state}
        return {"weights": shelf.file(weights, drawn)}

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Vectors [B, D] of images [B, 3, H, W] in [0, 1]; D grows with the number of pixels."""
        maps = self._network.net(self._network.scaling_layer(2 * images - 1))
        return torch.cat(
            [
                (lpips.normalize_tensor(m) * (scale / m[0, 0].numel()).sqrt()).flatten(1)
                for m, scale in zip(maps, self._scales, strict=True)
            ],
            dim=1,
        )

    def compare(self, vector: Tensor, others: Tensor) -> Tensor:
        """LPIPS [N] of one image and N others; higher is more different."""
        return squared_distances(vector, others)


def _network() -> Any:
    with warnings.catch_warnings():
        # The package still asks torchvision for no weights in the old way.
        warnings.simplefilter("ignore", UserWarning)
        return lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)


def _published_name(name: str) -> str:
    # The package cuts torchvision's features into slices, and keeps their numbers.
    return f"features.{name.partition('.')[2]}"
