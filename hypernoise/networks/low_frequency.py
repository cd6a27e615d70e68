"""A small stand-alone noise network that moves only the lowest frequencies of the noise.

After the idea of LENS (arXiv 2605.07253): low frequencies of the noise decide what stands where in
an image, and a network that moves nothing else can be small. What is public of LENS does not give
its network, its basis or its training in full; docs/methods.md says what differs here.

With an orthonormal basis B of k low-frequency fields and their coefficients c = B^T x0, the
displacement is f(x0) = B h(c, prompt). All that is orthogonal to B stays as it is, and the KL of
the moved noise is that of its k coefficients: half |h|^2 + Tr J - log|det(I + J)| with J the k x k
Jacobian of h, which is computed, not dropped as for the noise networks on a backbone
(:mod:`hypernoise.networks.kl_audit`).
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import jacfwd, vmap
from torch.nn import functional

from hypernoise.models.protocol import Conditioning, Generator, Seeds
from hypernoise.networks.bands import Band
from hypernoise.networks.description import check_kind
from hypernoise.networks.protocol import Drawn
from hypernoise.text_files import read_json
from hypernoise.weights.folders import check_file
from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE

_SHAPE = ("frequencies", "width", "depth")
_QUERIES = 8
#: Keys of a backbone's configuration for the width of its text encoder's tokens; the first counts.
_PROMPT_WIDTHS = (
    "encoder_hid_dim",
    "caption_channels",
    "joint_attention_dim",
    "cross_attention_dim",
)


def cosine_basis(n: int, n_frequencies: int) -> Tensor:
    """The lowest frequencies of the orthonormal cosine transform (DCT-II).

    Returns:
        [n_frequencies, n] float32 with orthonormal rows, the constant one first.

    Raises:
        ValueError: there are not so many frequencies.
    """
    if not 1 <= n_frequencies <= n:
        raise ValueError(f"frequencies must be from 1 to {n}, got {n_frequencies}")
    places = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    rows = torch.cos(math.pi * torch.arange(n_frequencies, dtype=torch.float64)[:, None] * places)
    basis: Tensor = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return basis.float()


class PromptPooling(nn.Module):
    """Encoded prompts of any length as one vector, through learned queries.

    Args:
        token_width: width of a token.
        width: of the result.
    """

    def __init__(self, token_width: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(token_width)
        self.queries = nn.Linear(token_width, _QUERIES)
        self.values = nn.Linear(token_width, width)
        self.mix = nn.Linear(_QUERIES * width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """[B, width] from tokens [B, T, token_width]; where the mask [B, T] is 0 is no token."""
        tokens = self.norm(tokens)
        scores = self.queries(tokens)
        if mask is not None:
            scores = scores.masked_fill(mask[..., None] == 0, -math.inf)
        pooled = scores.softmax(dim=1).transpose(1, 2) @ self.values(tokens)
        return functional.silu(self.mix(pooled.flatten(1)))


class GatedBlock(nn.Module):
    """A gated residual block whose two branches both see the prompt.

    Their product lets the prompt choose how coefficients move one another: a sum inside a
    nonlinearity hardly does, and a shift by the prompt alone earns next to nothing.

    Args:
        width: of the hidden layer and the pooled prompt.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 2 * width)
        self.condition = nn.Linear(width, 2 * width)
        self.outer = nn.Linear(width, width)

    def forward(self, hidden: Tensor, prompt: Tensor) -> Tensor:
        """[..., width] from hidden values and a pooled prompt [..., width]."""
        value, gate = (self.inner(hidden) + self.condition(prompt)).chunk(2, dim=-1)
        added: Tensor = self.outer(value * functional.silu(gate))
        return hidden + added


class CoefficientNetwork(nn.Module):
    """h(c, prompt): a residual network on coefficients, zero before training.

    Args:
        n_coefficients: k.
        token_width: width of an encoded prompt's tokens.
        width: of the hidden layers.
        depth: residual blocks.
    """

    def __init__(self, n_coefficients: int, token_width: int, width: int, depth: int) -> None:
        super().__init__()
        self.pooling = PromptPooling(token_width, width)
        self.first = nn.Linear(n_coefficients, width)
        self.blocks = nn.ModuleList(GatedBlock(width) for _ in range(depth))
        self.last = nn.Linear(width, n_coefficients)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, coefficients: Tensor, prompt: Tensor) -> Tensor:
        """The displacement [..., k] of coefficients [..., k] for a pooled prompt [..., width]."""
        hidden = self.first(coefficients)
        for block in self.blocks:
            hidden = block(hidden, prompt)
        moved: Tensor = self.last(hidden)
        return moved


def coefficient_kl(delta: Tensor, jacobian: Tensor) -> Tensor:
    """The integrand of the KL of moved coefficients to the standard normal ones, in nats.

    Args:
        delta: [B, k], h at standard normal coefficients.
        jacobian: [B, k, k], of h there.

    Returns:
        [B] half |h|^2 + Tr J - log|det(I + J)|; infinite where I + J is singular.
    """
    trace = jacobian.diagonal(dim1=1, dim2=2).sum(1)
    total = torch.eye(delta.shape[1], device=delta.device, dtype=delta.dtype) + jacobian
    kl: Tensor = 0.5 * delta.square().sum(1) + trace - torch.linalg.slogdet(total).logabsdet
    return kl


class LowFrequencyNetwork:
    """The noise network: a displacement of the noise's lowest frequencies, in float32.

    Args:
        generator: the frozen generator; its backbone is not touched.
        frequencies: per axis; each channel has their square.
        width, depth: of :class:`CoefficientNetwork`.
        seed: seed of its initial weights.

    Raises:
        ValueError: the noise has fewer frequencies, a size is below 1, or the backbone's
            configuration does not say how wide encoded prompts are.
    """

    kind: ClassVar[str] = "low_frequency"
    backbone_passes: ClassVar[int] = 0

    def __init__(
        self, generator: Generator, frequencies: int, width: int, depth: int, seed: int = 0
    ) -> None:
        for name, size in (("width", width), ("depth", depth)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.generator = generator
        self.shape = {"frequencies": frequencies, "width": width, "depth": depth}
        self.basis = Band(generator, partial(cosine_basis, n_frequencies=frequencies))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = CoefficientNetwork(
                self.basis.n_coefficients, prompt_width(generator.backbone), width, depth
            )
        device = next(generator.backbone.parameters()).device
        # Layers of a backbone that is offloaded one by one are nowhere between passes.
        if device.type != "meta":
            self.network.to(device)

    @classmethod
    def trained(cls, generator: Generator, folder: Path) -> Self:
        """A trained network; raises as :func:`saved_shape` and :meth:`load`."""
        check_kind(folder, cls.kind)
        network = cls(generator, **saved_shape(folder))
        network.load(folder)
        return network

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def parameters(self) -> list[nn.Parameter]:
        return list(self.network.parameters())

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        coefficients, prompt = self.inputs(noise, conditioning)
        return self.basis.field(self.network(coefficients, prompt))

    def draw(
        self, noise: Tensor, conditioning: Conditioning, steps: int = 1, seeds: Seeds = None
    ) -> Drawn:
        """Images of the frozen generator from the moved noise, and the exact KL of that noise."""
        with torch.autocast(noise.device.type, enabled=False):
            moved, kl = self.kl(*self.inputs(noise, conditioning))
            delta = self.basis.field(moved)
        images = self.generator.sample(noise + delta, conditioning, steps, seeds)
        return Drawn(images, delta, kl)

    def kl(self, coefficients: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """The displacement [B, k] of coefficients, and its KL integrand [B] in nats."""
        moved = self.network(coefficients, prompt)
        jacobian = vmap(jacfwd(self.network))(coefficients, prompt)
        return moved, coefficient_kl(moved, jacobian)

    def inputs(self, noise: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        """What the network sees of [B, *noise_shape]: coefficients [B, k], prompts [B, width]."""
        tensors = conditioning.to(noise.device).tensors
        parameter = next(self.network.parameters())
        if parameter.device != noise.device:
            # The backbone was offloaded when the network was built beside it.
            self.network.to(noise.device)
        dtype = parameter.dtype
        tokens = tensors["prompt_embeds"].to(dtype)
        prompt = self.network.pooling(tokens, tensors.get("prompt_attention_mask"))
        return self.basis.coefficients(noise.to(dtype)), prompt

    def save(self, folder: Path) -> None:
        """Write the network under the file names of a LoRA, so that both are kept alike."""
        folder.mkdir(parents=True, exist_ok=True)
        config = json.dumps({"kind": self.kind, **self.shape}, indent=2)
        (folder / CONFIG_FILE).write_text(config + "\n", encoding="utf-8")
        state = self.network.state_dict()
        weights = {name: weight.detach().cpu().contiguous() for name, weight in state.items()}
        save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})

    def load(self, folder: Path) -> None:
        """Read a network of the same shape.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, or the network has another shape.
        """
        if (saved := saved_shape(folder)) != self.shape:
            raise ValueError(f"{folder / CONFIG_FILE} has {saved}; this network has {self.shape}")
        path = folder / WEIGHTS_FILE
        check_file(path)
        try:
            self.network.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            # torch's account goes over many lines.
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} was made for another generator: {reason}") from error


def prompt_width(backbone: Any) -> int:
    """The width of an encoded prompt's tokens, as the backbone's configuration has it.

    Raises:
        ValueError: it does not say.
    """
    config = getattr(backbone, "config", {})
    widths = (config.get(name) for name in _PROMPT_WIDTHS)
    found = next((width for width in widths if width), None)
    if not isinstance(found, int):
        raise ValueError(
            f"the configuration of {type(backbone).__name__} does not say how wide encoded prompts "
            f"are: it has none of {', '.join(_PROMPT_WIDTHS)}"
        )
    return found


def saved_shape(folder: Path) -> dict[str, int]:
    """Frequencies, width and depth of a saved network.

    Raises:
        FileNotFoundError: there is no configuration.
        ValueError: it is not such a network's.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no low-frequency network in {folder}: {CONFIG_FILE} is missing")
    try:
        config = read_json(path)
        if config["kind"] != LowFrequencyNetwork.kind:
            raise ValueError(f"{path} is a {config['kind']!r} network's")
        return {name: int(config[name]) for name in _SHAPE}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a low-frequency network's configuration: {error}"
        ) from error
