"""A trained noise network in an ordinary diffusers script: latents for a pipeline's next call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from hypernoise.errors import check_choice
from hypernoise.models.families import generator_of, noise_dtype
from hypernoise.models.protocol import Generator, StartsAtTimestep
from hypernoise.networks import base_weights
from hypernoise.networks.branches import BranchNetwork, uncompiled, without_lora
from hypernoise.networks.description import (
    DESCRIPTION_FILE,
    NETWORKS,
    Description,
    read_description,
)
from hypernoise.networks.low_frequency import LowFrequencyNetwork
from hypernoise.networks.protocol import NoiseMover
from hypernoise.weights.pins import AT_COMMIT, REPOSITORY
from hypernoise.weights.pipelines import COMPONENTS
from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE

_FILES = (CONFIG_FILE, WEIGHTS_FILE, DESCRIPTION_FILE)
#: Class of a kind's network -> how it is had beside a pipeline.
_BESIDE: Mapping[str, Callable[[Generator, Path], NoiseMover]] = {
    NETWORKS[BranchNetwork.kind]: BranchNetwork,
    NETWORKS[LowFrequencyNetwork.kind]: LowFrequencyNetwork.trained,
}


class PipelineNoise:
    """A noise network beside a stock pipeline, which it leaves as it is.

    Call it with a call's prompts and give the result to the pipeline as ``latents``. Its pass runs
    on the base's own weights, whatever LoRA the pipeline has at the time, and eagerly where the
    pipeline is compiled; offloaded networks are brought back as for any pass.

    Made by :func:`load`, which is ``NoiseNetwork.from_pretrained``.

    Attributes:
        description: what the network's folder says of it.
        network: the network itself.
    """

    def __init__(
        self, pipeline: Any, description: Description, network: NoiseMover, check_base: bool
    ) -> None:
        self.description, self.network = description, network
        self._pipeline, self._check_base = pipeline, check_base
        self._backbone = backbone_of(pipeline)

    @torch.no_grad()
    def __call__(
        self,
        prompts: str | Sequence[str],
        *,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
    ) -> Tensor:
        """Noise, moved for its prompts: what the pipeline's call takes as ``latents``.

        Args:
            prompts: one, or B of them, as the pipeline is given them.
            num_images_per_prompt: N; give the pipeline the same.
            generator: draws the noise, as the pipeline itself would with it; one for each image, if
                several. Without one, torch's global one draws.
            latents: noise to move, [B * N, ...] of unit variance as the pipeline takes it (FLUX.1:
                packed), N images of a prompt after one another; it is not drawn then.

        Returns:
            x0 + f(x0, c), [B * N, ...]: on the pipeline's device, in the dtype that it draws in.

        Raises:
            ValueError: there are no prompts, or noise or generators for other than B * N images;
                the pipeline has another backbone or other weights than when this was loaded.
            RuntimeError: something took the place of layers that are adapted.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        n_images = len(texts) * num_images_per_prompt
        if not texts or num_images_per_prompt < 1:
            raise ValueError(f"{len(texts)} prompts with {num_images_per_prompt} images: none")
        if backbone_of(self._pipeline) is not self._backbone:
            raise ValueError("the pipeline's backbone was exchanged: load the noise network again")
        if self._check_base and isinstance(self.network, BranchNetwork):
            self.network.check_base()
        noise = self._noise(n_images, generator) if latents is None else latents
        if noise.shape != (n_images, *self.network.generator.noise_shape):
            raise ValueError(
                f"latents have the shape {tuple(noise.shape)}, {n_images} images of "
                f"{self.network.generator.size_px} px need "
                f"{(n_images, *self.network.generator.noise_shape)}"
            )
        noise = noise.to(self._pipeline._execution_device)
        with ExitStack() as stack:
            for part in self._pipeline.components.values():
                if isinstance(part, nn.Module) and uncompiled(part) is not self._backbone:
                    stack.enter_context(without_lora(part))
            encoded = self.network.generator.encode(texts)
        index = [i for i in range(len(texts)) for _ in range(num_images_per_prompt)]
        moved = noise + self.network.delta(noise, encoded.rows(index)).to(noise.device)
        # As the pipeline does after a call: offloaded networks go back.
        self._pipeline.maybe_free_model_hooks()
        return moved.to(noise_dtype(self._pipeline))

    def _noise(
        self, n_images: int, source: torch.Generator | Sequence[torch.Generator] | None
    ) -> Tensor:
        """Noise as the pipeline would draw it: [n_images, *noise_shape]."""
        known, pipeline = self.network.generator, self._pipeline
        if isinstance(source, Sequence) and len(source) != n_images:
            raise ValueError(f"there are {len(source)} generators for {n_images} images")
        shape = known.noise_shape
        if known.packing is not None:
            shape = tuple(known.packing.grid(torch.empty(1, *shape, device="meta")).shape[1:])
        given: Any = source if source is None or isinstance(source, torch.Generator) else [*source]
        noise: Tensor = randn_tensor(
            (n_images, *shape), given, pipeline._execution_device, noise_dtype(pipeline)
        )
        return noise if known.packing is None else known.packing.pack(noise)


def load(
    pipeline: Any,
    place: str | Path,
    *,
    revision: str | None = None,
    size_px: int | None = None,
    family: Callable[..., Generator] | None = None,
    description: Description | None = None,
    check_base: bool = True,
) -> PipelineNoise:
    """A trained noise network for a stock pipeline.

    Args:
        pipeline: a diffusers pipeline of the network's base, of any class of
            :data:`hypernoise.models.families.FAMILIES`.
        place: a training's folder, a checkpoint's, or a hub repository, ``owner/name`` or
            ``owner/name@COMMIT``.
        revision: of the hub's repository; its main branch without one.
        size_px: width and height of the images to draw; those that it was trained on without.
        family: for a pipeline of your own, its class (:class:`Generator`), called with
            ``pipeline``, ``size_px`` and the arguments of the model that was trained on.
        description: of a network whose folder has none.
        check_base: refuse a pipeline whose weights are not those of the base, here and in calls.

    Raises:
        FileNotFoundError: there is no such folder, or a file in it is missing.
        ValueError: the folder does not say what it is, or that it is no noise network, or one of
            another base; the pipeline's family is unknown; a file is truncated; the hub does not
            give the repository.
    """
    folder = folder_of(str(place), revision)
    told = read_description(folder) or description
    if told is None:
        raise ValueError(
            f"{folder} has no {DESCRIPTION_FILE}: it does not say of which kind its network is, "
            "nor its base, its image size and the base's own options. `python -m harness card` "
            "writes it for a training of this project; for another network give description="
        )
    if not told.moves_noise:
        raise ValueError(
            f"{folder} has {told.what}, no noise network: the pipeline's own load_lora_weights "
            "takes it"
        )
    if family is None and type(pipeline).__name__ != told.pipeline:
        ancestors = {ancestor.__name__ for ancestor in type(pipeline).__mro__}
        if told.pipeline not in ancestors:
            raise ValueError(
                f"{folder} has a noise network of a {told.pipeline} ({told.base}), and the "
                f"pipeline is a {type(pipeline).__name__}"
            )
    size = told.size_px if size_px is None else size_px
    if family is None:
        generator = generator_of(pipeline, size, told.arguments)
    else:
        generator = family(pipeline=pipeline, size_px=size, **told.arguments)
    if told.first_timestep is not None and isinstance(generator, StartsAtTimestep):
        # Another scheduler may begin elsewhere; the network's pass is where it was trained.
        generator.first_timestep = torch.tensor(told.first_timestep)
    check_weights(pipeline, told, str(folder), check_base)
    check_choice("kind", told.kind, [kind for kind, of in NETWORKS.items() if of in _BESIDE])
    network = _BESIDE[NETWORKS[told.kind]](generator, folder)
    return PipelineNoise(pipeline, told, network, check_base)


def check_weights(pipeline: Any, told: Description, where: str, check_base: bool) -> None:
    """Check that a pipeline has the weights that a network was trained on.

    Args:
        where: of the network, for messages.
        check_base: compare weights; without, only what no noise pass could be right on is refused.

    Raises:
        ValueError: it has others, or a LoRA that belongs to the base can be taken off again.
    """
    parts = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    fused = any(getattr(layer, "merged", False) for part in parts for layer in part.modules())
    if told.base_lora and fused:
        raise ValueError(
            f"{where} was trained on {told.base} with the LoRA {told.base_lora} in its weights, "
            "and the pipeline has a fused LoRA that is still loaded, which the noise pass would "
            "leave out: unload_lora_weights() after fusing the base's own, and fuse others after "
            "the noise network is loaded"
        )
    backbone = backbone_of(pipeline)
    if check_base and (layers := base_weights.changed(told.base_sample, backbone)):
        lora = f" with the LoRA {told.base_lora} in them (load_lora_weights(), fuse_lora(), "
        base = told.base + (lora + "unload_lora_weights())" if told.base_lora else "")
        raise ValueError(
            f"the pipeline's weights are not those of {base}, which {where} was trained on: "
            f"{len(layers)} of {len(told.base_sample)} layers looked at differ, {layers[0]} first. "
            "If another LoRA was fused into them, load the noise network before, and "
            "unfuse_lora() before its weight is changed; check_base=False takes the weights as "
            "they are"
        )


def backbone_of(pipeline: Any) -> nn.Module:
    """A pipeline's UNet or transformer, without the wrapper that torch.compile may have made.

    Raises:
        ValueError: it has none.
    """
    for name in COMPONENTS:
        if isinstance(network := getattr(pipeline, name, None), nn.Module):
            return uncompiled(network)
    raise ValueError(f"{type(pipeline).__name__} has neither of {', '.join(COMPONENTS)}")


def folder_of(place: str, revision: str | None) -> Path:
    """A network's folder on this machine, downloaded if it is the hub's."""
    if Path(place).is_dir():
        return Path(place)
    at = AT_COMMIT.fullmatch(place)
    repository = at["weights"] if at else place
    if not REPOSITORY.fullmatch(repository):
        raise FileNotFoundError(f"no trained network: there is no folder {place}")
    # Lazy import: folders are read without the hub's client.
    import huggingface_hub as hub

    from hypernoise.weights.hub import explained

    commit = at["revision"] if at else revision
    with explained(repository, commit or "main"):
        return Path(hub.snapshot_download(repository, revision=commit, allow_patterns=[*_FILES]))
