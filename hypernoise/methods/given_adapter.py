"""An adapter that one has, as a method: LoRA of other people, or a published noise network.

Nothing is trained. ``python -m harness adapter FOLDER --model MODEL`` says what an adapter is and
how it is declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.lora_finetune import LoraFinetune
from hypernoise.methods.protocol import Generated, Method, Request
from hypernoise.models.protocol import Generator
from hypernoise.networks.adapter import Adapter, adaptable, attach, free_name, put_in
from hypernoise.networks.description import DESCRIPTION_FILE, read_description
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.weights.foreign_lora import ForeignLora, read, weights_file
from hypernoise.weights.pinned_files import PinnedFile
from hypernoise.weights.pins import is_remote
from hypernoise.weights.saved_lora import WEIGHTS_FILE, peft_key, saved_keys
from hypernoise.weights.stand_ins import Shelf

#: In place of a folder: a LoRA with random weights on every layer, as rehearsals have it.
RANDOM = "random"
_RANDOM_RANK, _RANDOM_STD = 4, 0.02


class GivenAdapter:
    """The generator with a given LoRA, or the frozen one from noise that a given network moved.

    Args:
        weights: folder or safetensors file; hub repository (with ``revision``); a hub's file with
            its hash (:mod:`hypernoise.weights.pinned_files`); or ``"random"``.
        revision: commit of the hub's repository, 40 hexadecimal digits.
        file: name of the file of weights, where a folder or repository has several.
        scale: what the LoRA's difference is multiplied by, besides its alpha and rank.
        moves_noise: whether it is a noise network (arXiv 2508.09968); else it is part of the
            generator in every pass that draws the image.

    Raises:
        ValueError: a file is named without its folder, or the scale is not a finite number.
    """

    words_prompts: ClassVar[bool] = False

    def __init__(
        self,
        weights: str,
        revision: str = "",
        file: str = "",
        scale: float = 1.0,
        moves_noise: bool = False,
    ) -> None:
        if Path(file).name != file or (file and (is_remote(weights) or weights == RANDOM)):
            raise ValueError(f"file {file!r} must be the name of a file in the adapter's folder")
        if isinstance(scale, bool) or not -1e6 < scale < 1e6:
            raise ValueError(f"scale must be a number, got {scale!r}")
        self._weights, self._revision, self._file = weights, revision, file
        self._scale, self._moves_noise = float(scale), moves_noise
        self._made: Method | None = None

    @classmethod
    def stand_in(cls, shelf: Shelf, **given: Any) -> Mapping[str, Any]:
        """Random LoRA: it fits whichever small backbone stands in for the real one."""
        return {"weights": RANDOM, "revision": "", "file": ""}

    def check(self) -> None:
        if self._weights == RANDOM:
            return
        if is_remote(self._weights):
            PinnedFile.parse(self._weights).check()
        elif self._revision:
            # Lazy import: local adapters are checked without the hub's client.
            from hypernoise.weights.hub import check_commit, explained

            check_commit(self._weights, self._revision)
            with explained(self._weights, self._revision):
                self.path()
        else:
            self.path()

    def check_for(self, pipeline_class: Any, backbone: nn.Module) -> None:
        if self._weights != RANDOM:
            self._check_kind()
            self.read_for(pipeline_class, backbone)

    def _check_kind(self) -> None:
        folder = self.path().parent
        told = read_description(folder)
        if told is not None and told.moves_noise != self._moves_noise:
            raise ValueError(f"{folder} has {told.what}: declare moves_noise={told.moves_noise}")

    def read_for(self, pipeline_class: Any, backbone: nn.Module) -> ForeignLora | None:
        """The adapter, read for a backbone; None for one that also adapts grouped convolutions, as
        those of peft before 0.16 do: a form that peft itself no longer reads.

        Raises:
            ValueError, FileNotFoundError: as :meth:`check_for`.
        """
        path = self.path()
        if path.name == WEIGHTS_FILE:
            layers = adaptable(backbone)[1]
            with suppress(ValueError):
                # What is wrong with other names is said by whoever reads them.
                keys = saved_keys(path.parent)
                if any(peft_key(layer, "lora_A") in keys for layer in layers):
                    return None
        return read(path, backbone, pipeline_class)

    def path(self) -> Path:
        """The file of the weights on this machine, downloaded where it is not there yet."""
        if is_remote(self._weights):
            return PinnedFile.parse(self._weights).fetch()
        place = Path(self._weights)
        if self._revision:
            # Lazy import: as above.
            import huggingface_hub as hub

            wanted = [self._file] if self._file else ["*.safetensors"]
            found = hub.snapshot_download(
                self._weights, revision=self._revision, allow_patterns=[*wanted, "*.json"]
            )
            place = Path(found)
        # A fine-tuning of this project is also there in diffusers' layout.
        is_own = place.is_dir() and (place / DESCRIPTION_FILE).is_file()
        return weights_file(place, self._file or (WEIGHTS_FILE if is_own else ""))

    def attach(self, generator: Generator) -> None:
        backbone, name = generator.backbone, free_name(generator.backbone, "given")
        if self._weights != RANDOM:
            self._check_kind()
        if self._weights == RANDOM:
            adapter = random_adapter(backbone, name)
        elif (found := self.read_for(type(generator.pipeline), backbone)) is not None:
            adapter = put_in(found, backbone, name, self._scale)
        else:
            of = NoiseNetwork if self._moves_noise else FineTuner
            adapter = of.trained(generator, self.path().parent, name).adapter
        if not self._moves_noise:
            self._made = LoraFinetune(FineTuner.around(generator, adapter))
            return
        if adapter.config.use_dora:
            adapter.remove()
            raise ValueError(f"{self._weights}: use_dora: a noise network has plain LoRA")
        for parameter in adapter.parameters():
            # As noise networks have theirs.
            parameter.data = parameter.data.float()
        self._made = HyperNoise(NoiseNetwork.around(generator, adapter))

    def run(self, request: Request) -> Generated:
        if self._made is None:
            self.attach(request.generator)
        made: Any = self._made
        generated: Generated = made.run(request)
        return generated


def random_adapter(backbone: nn.Module, name: str) -> Adapter:
    """LoRA of rank 4 on every layer, as far from zero as a trained one."""
    adapter = attach(backbone, name, rank=_RANDOM_RANK, alpha=float(_RANDOM_RANK))
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in adapter.parameters():
            drawn = torch.randn(weight.shape, generator=source) * _RANDOM_STD
            weight.copy_(drawn)
            weight.requires_grad_(False)
    return adapter
