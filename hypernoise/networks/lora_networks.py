"""LoRA on a generator's own backbone: as a noise network, and as direct fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hypernoise.choices import check_choice
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.adapter import adaptable, attach, saved_keys, saved_rank_and_alpha
from hypernoise.networks.lora_keys import peft_key
from hypernoise.networks.protocol import Drawn


class NoiseNetwork:
    """f(x0, c): the generator's backbone with LoRA, its last layer reduced to the LoRA branch.

    The frozen weight and bias of the last layer are left out, so that f = 0 before training
    (arXiv 2508.09968, section 3.3). One pass at the largest timestep gives f.

    Args:
        generator: the frozen generator.
        rank: LoRA rank.
        alpha: LoRA alpha.
        name: the adapter's name in the backbone.
        seed: seed of the LoRA's initial weights.
        grouped: see :func:`attach`.

    Raises:
        ValueError: the backbone's last layer cannot take LoRA, or ``name`` is taken.
    """

    kind: ClassVar[str] = "hypernoise"

    def __init__(
        self,
        generator: Generator,
        rank: int,
        alpha: float,
        name: str = "hypernoise",
        seed: int = 0,
        grouped: bool = False,
    ) -> None:
        self.generator = generator
        self.adapter = attach(generator.backbone, name, rank, alpha, seed=seed, grouped=grouped)
        last = self.adapter.layers.get(generator.last_layer)
        if not isinstance(last, LoraLayer):
            self.adapter.remove()
            raise ValueError(
                f"the last layer {generator.last_layer!r} is neither a Linear nor an ungrouped "
                "Conv2d of the backbone"
            )
        self._last = last.get_base_layer()

    @property
    def n_parameters(self) -> int:
        return self.adapter.n_parameters

    @property
    def shape(self) -> dict[str, float]:
        """Rank and alpha of the LoRA."""
        return self.adapter.shape

    def parameters(self) -> list[nn.Parameter]:
        return self.adapter.parameters()

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The displacement f(x0, c) of noise [B, *noise_shape]: same shape, float32.

        A backbone that has been made float64 gives float64.
        """
        with self.adapter.active(), _zero_output(self._last):
            return displacement(self.generator, noise, conditioning)

    def draw(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Drawn:
        """Images of the frozen generator from the moved noise x0 + f(x0, c)."""
        delta = self.delta(noise, conditioning)
        images = self.generator.sample(noise + delta, conditioning, steps, seeds)
        return Drawn(images, delta)

    def save(self, folder: Path) -> None:
        """Write the LoRA in PEFT's format."""
        self.adapter.save(folder)

    def load(self, folder: Path) -> None:
        """Read a LoRA of the same shape; errors:
        :meth:`hypernoise.networks.adapter.Adapter.load`.
        """
        self.adapter.load(folder)


class FineTuner:
    """Direct fine-tuning: the same LoRA, but active while the generator draws its images.

    Args:
        generator: the generator; unchanged outside :meth:`active` and :meth:`draw`.
        rank: LoRA rank.
        alpha: LoRA alpha.
        name: the adapter's name in the backbone.
        seed: seed of the LoRA's initial weights.
        grouped: see :func:`attach`.
    """

    kind: ClassVar[str] = "lora_finetune"

    def __init__(
        self,
        generator: Generator,
        rank: int,
        alpha: float,
        name: str = "lora_finetune",
        seed: int = 0,
        grouped: bool = False,
    ) -> None:
        self.generator = generator
        self.adapter = attach(generator.backbone, name, rank, alpha, seed=seed, grouped=grouped)

    @property
    def n_parameters(self) -> int:
        return self.adapter.n_parameters

    @property
    def shape(self) -> dict[str, float]:
        """Rank and alpha of the LoRA."""
        return self.adapter.shape

    def parameters(self) -> list[nn.Parameter]:
        return self.adapter.parameters()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the generator the fine-tuned one."""
        with self.adapter.active():
            yield

    def draw(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Drawn:
        """Images of the fine-tuned generator; the noise is not moved."""
        with self.active():
            return Drawn(self.generator.sample(noise, conditioning, steps, seeds), None)

    def save(self, folder: Path) -> None:
        """Write the LoRA in PEFT's format."""
        self.adapter.save(folder)

    def load(self, folder: Path) -> None:
        """Read a LoRA of the same shape; errors:
        :meth:`hypernoise.networks.adapter.Adapter.load`.
        """
        self.adapter.load(folder)


#: What can be trained, by the name that configurations use.
KINDS: Mapping[str, type[NoiseNetwork] | type[FineTuner]] = {
    NoiseNetwork.kind: NoiseNetwork,
    FineTuner.kind: FineTuner,
}


def build(
    kind: str,
    generator: Generator,
    rank: int,
    alpha: float,
    seed: int = 0,
    name: str = "",
    grouped: bool = False,
) -> NoiseNetwork | FineTuner:
    """An untrained noise network or fine-tuner; ``name`` defaults to a free one.

    ``grouped`` is that of :func:`attach`.

    Raises:
        ValueError: unknown kind.
    """
    check_choice("kind of training", kind, KINDS)
    free = name or _free_name(generator, kind)
    return KINDS[kind](generator, rank, alpha, free, seed, grouped)


def load_trained(
    kind: str, generator: Generator, folder: Path, name: str = ""
) -> NoiseNetwork | FineTuner:
    """A trained noise network or fine-tuner, with the rank and alpha that it was saved with.

    Grouped convolutions are adapted where the saved one adapted them, as those of peft before 0.16
    do, the published HyperNoise adapters among them.

    Args:
        kind: ``"hypernoise"`` or ``"lora_finetune"``.
        generator: the generator that it was trained on.
        folder: PEFT folder; :mod:`hypernoise.networks.lora_keys` has the names that its weights
        may have.
        name: the adapter's name in the backbone; by default a free one, so that several trained
            adapters can share a generator.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: unknown kind, a truncated file, or an adapter for another backbone.
    """
    rank, alpha = saved_rank_and_alpha(folder)
    saved = saved_keys(folder)
    _, grouped_names = adaptable(generator.backbone)
    grouped = any(peft_key(layer, "lora_A") in saved for layer in grouped_names)
    trained = build(kind, generator, rank, alpha, name=name, grouped=grouped)
    try:
        trained.load(folder)
    except (FileNotFoundError, ValueError):
        trained.adapter.remove()
        raise
    return trained


def _free_name(generator: Generator, kind: str) -> str:
    taken = getattr(generator.backbone, "peft_config", {})
    numbered = (f"{kind}_{n}" for n in range(2, len(taken) + 3))
    return next(name for name in (kind, *numbered) if name not in taken)


def displacement(generator: Generator, noise: Tensor, conditioning: Conditioning) -> Tensor:
    """One pass of a generator's backbone, whatever is switched on in it: [B, *noise_shape].

    float32; a backbone that has been made float64 gives float64.
    """
    values = generator.predict(noise, conditioning)
    return values if values.dtype == torch.float64 else values.float()


def _zero_output(layer: nn.Module) -> RemovableHandle:
    return layer.register_forward_hook(lambda _module, _inputs, out: torch.zeros_like(out))
