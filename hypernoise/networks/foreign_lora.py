"""LoRA of other people: read in the layouts that there are, held against a backbone, put into it.

Layouts are peft's folder, diffusers' file (``lora_A`` and ``lora_B``, or the older ``lora.down``
and ``lora.up``, with peft's options in its header or without) and kohya's
(``lora_unet_..._down``, ``up`` and ``alpha``). diffusers converts what has other names than the
backbone and puts it in; here it is only made sure that nothing is left out: what diffusers would
drop with a warning is refused.
"""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import Tensor, nn

from hypernoise.models.backbones import COMPONENTS, component_of
from hypernoise.networks.adapter import Adapter, free_name
from hypernoise.networks.saved_lora import (
    CONFIG_FILE,
    PEFT_PREFIX,
    PLAIN,
    WEIGHTS_FILE,
    lora_config,
)
from hypernoise.weights.folders import PICKLES, check_file

Layout = Literal["peft", "diffusers", "kohya"]
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
#: Options of peft that it applies itself when it is handed the weights.
APPLIED = PLAIN | {"use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "lora_bias"}
#: In a file's header, where diffusers keeps peft's options.
_HEADER = "lora_adapter_metadata"
_KOHYA = re.compile(r"lora_(?:unet|transformer)_(?P<layer>[^.]+)\.(?P<half>.+)")
_HALVES = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
_WEIGHT = re.compile(
    r"(?P<layer>.+)\.(?P<half>lora_[AB])(?:\.(?P<adapter>(?!bias|weight)[^.]+))?\.(?P<what>weight|bias)"
    r"|(?P<dora>.+)\.lora_magnitude_vector(?:\..*)?"
)
_TEXT_ENCODER = re.compile(r"(?:base_model\.model\.)?(text_encoder|lora_te\d?_|te\d?\.)")
#: In keys -> what has such keys, and is no LoRA that is known here.
_OTHERS = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "oft_": "OFT",
    "lora_mid": "LoRA with a core of its own (Tucker)",
    "dora_scale": "DoRA in kohya's layout",
    ".diff": "whole differences of weights",
    "lora_controlnet": "a Control-LoRA",
    "lora_embedding": "embeddings",
}


@dataclass(frozen=True)
class ForeignLora:
    """A LoRA as its file has it, under the backbone's names.

    Attributes:
        path: the file of its weights.
        layout: whose layout it is.
        component: of the pipeline: ``"unet"`` or ``"transformer"``.
        weights: ``COMPONENT.LAYER.lora_A.weight``, peft's names -> tensors.
        alphas: ``COMPONENT.LAYER.alpha`` -> alpha, of files that say it for every layer.
        options: peft's, of files that have them.
        base: name of the base that the file says it was trained on; empty if it does not.
    """

    path: Path
    layout: Layout
    component: str
    weights: Mapping[str, Tensor]
    alphas: Mapping[str, float]
    options: Mapping[str, Any]
    base: str = ""

    @property
    def layers(self) -> list[str]:
        """The adapted layers by their names in the backbone."""
        start = len(self.component) + 1
        found = (_WEIGHT.fullmatch(key[start:]) for key in self.weights)
        return sorted({match["layer"] or match["dora"] for match in found if match})

    def weight(self, layer: str, half: str) -> Tensor | None:
        return self.weights.get(f"{self.component}.{layer}.{half}.weight")


def weights_file(place: Path, file: str = "") -> Path:
    """The file of a LoRA's weights, checked.

    Args:
        place: a folder, or the file itself.
        file: its name in the folder, where there are several.

    Raises:
        FileNotFoundError: there is no such place, or no file of weights in it.
        ValueError: there are several, it is pickled, or it is truncated.
    """
    if place.suffix in PICKLES or file.endswith(PICKLES):
        raise ValueError(f"{place / file} is pickled: it could run code; convert it to safetensors")
    if place.is_file() or file:
        path = place / file if file else place
        check_file(path)
        return path
    if not place.is_dir():
        raise FileNotFoundError(f"no adapter: there is no folder or file {place}")
    found = sorted(path.name for path in place.glob("*.safetensors"))
    names = [name for name in (WEIGHTS_FILE, DIFFUSERS_FILE) if name in found] or found
    if len(names) > 1:
        raise ValueError(f"{place} has several adapters: name one as `file`: {', '.join(found)}")
    if not names:
        pickled = sorted(path.name for path in place.iterdir() if path.suffix in PICKLES)
        if pickled:
            raise ValueError(
                f"{place} has pickled weights only ({pickled[0]}): they could run code; convert "
                "them to safetensors"
            )
        raise FileNotFoundError(f"no adapter in {place}: it has no safetensors file")
    check_file(place / names[0])
    return place / names[0]


def read(path: Path, backbone: nn.Module, pipeline_class: Any) -> ForeignLora:
    """Read a LoRA for a backbone.

    Args:
        path: of :func:`weights_file`.
        backbone: the UNet or transformer, with weights or on the meta device.
        pipeline_class: the stock pipeline, whose loader knows other tools' names.

    Raises:
        ValueError: it is no LoRA, or one that cannot be applied whole: of another base, with parts
            for the text encoder, with an option that is not known here.
    """
    check_file(path)
    component = component_of(pipeline_class)
    with safe_open(path, framework="pt") as handle:
        header = handle.metadata() or {}
        # torch.compile's wrapper puts its own name into those of the layers.
        tensors = {key.replace("_orig_mod.", ""): handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    refuse_others(tensors, path)
    options, base = options_of(path, header, component)
    if options and (said := [key for key in tensors if key.endswith(".alpha")]):
        raise ValueError(f"{path} has its options twice: {said[0]!r}, and lora_alpha beside it")
    if any(_KOHYA.match(key) for key in tensors):
        layout: Layout = "kohya"
        tensors = of_kohya(tensors, backbone, component)
    else:
        layout = "peft" if (path.parent / CONFIG_FILE).is_file() else "diffusers"
        tensors = with_component(tensors, component, path)
    tensors, alphas = converted(tensors, backbone, component, pipeline_class, path)
    found = ForeignLora(path, layout, component, tensors, alphas, options, base)
    check_fit(found, backbone)
    return found


def check_fit(lora: ForeignLora, backbone: nn.Module) -> None:
    """Check that every weight of a LoRA has its layer in a backbone, in the right shape.

    Raises:
        ValueError: names the first that has not.
    """
    start = len(lora.component) + 1
    odd = [key for key in lora.weights if not _WEIGHT.fullmatch(key[start:])]
    if odd:
        raise ValueError(f"{lora.path}: {odd[0]!r} is not the name of a LoRA weight")
    if not lora.layers:
        raise ValueError(f"{lora.path} adapts no layer of the {lora.component}")
    modules = dict(backbone.named_modules())
    unknown = [layer for layer in lora.layers if layer not in modules]
    if unknown:
        raise ValueError(
            f"{lora.path} was made for another base: this {lora.component} lacks {len(unknown)} of "
            f"its {len(lora.layers)} layers, the first is {unknown[0]}"
        )
    for layer in lora.layers:
        down, up = lora.weight(layer, "lora_A"), lora.weight(layer, "lora_B")
        if down is None or up is None:
            lacking = "lora_A" if down is None else "lora_B"
            raise ValueError(f"{lora.path}: layer {layer} has no {lacking}")
        module: Any = modules[layer]
        base = module.get_base_layer() if isinstance(module, LoraLayer) else module
        if not isinstance(base, nn.Linear | nn.Conv2d):
            raise ValueError(
                f"{lora.path}: {layer} is a {type(base).__name__}, which takes no LoRA"
            )
        wanted = base.weight.shape
        if (up.shape[0], down.shape[1]) != (wanted[0], wanted[1]) or up.shape[1] != down.shape[0]:
            raise ValueError(
                f"{lora.path} was made for another base: layer {layer} has the weight "
                f"{tuple(wanted)}, and LoRA of {tuple(up.shape)} and {tuple(down.shape)} does not "
                "fit it"
            )


def put_in(lora: ForeignLora, backbone: Any, name: str, scale: float = 1.0) -> Adapter:
    """Put a LoRA into a backbone, switched off, by diffusers' own loader; its weights are frozen.

    Args:
        lora: of :func:`read`.
        backbone: diffusers' UNet or transformer.
        name: beginning of the adapter's name in it.
        scale: what its difference is multiplied by, besides alpha and rank.

    Raises:
        ValueError: its options contradict its weights.
    """
    name = free_name(backbone, name)
    asked = {parameter: parameter.requires_grad for parameter in backbone.parameters()}
    options = {f"{lora.component}.{key}": value for key, value in lora.options.items()}
    options |= {f"{lora.component}.target_modules": lora.layers} if options else {}
    try:
        with warnings.catch_warnings():
            # Several adapters on one backbone are meant.
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            backbone.load_lora_adapter(
                dict(lora.weights),
                prefix=lora.component,
                adapter_name=name,
                network_alphas=dict(lora.alphas) or None,
                metadata=options or None,
            )
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{lora.path} cannot be applied as its options say: {error}") from error
    layers: dict[str, Any] = {
        layer: module
        for layer, module in backbone.named_modules()
        if isinstance(module, LoraLayer) and name in module.lora_A
    }
    for layer in layers.values():
        layer.set_scale(name, scale)
        layer.__dict__.update(_disable_adapters=True)
    # peft marks the adapter as trainable, and what was there before as not.
    for parameter in backbone.parameters():
        parameter.requires_grad_(asked.get(parameter, False))
    if sorted(layers) != lora.layers:
        raise RuntimeError(f"diffusers adapted other layers: {set(layers) ^ set(lora.layers)}")
    return Adapter(backbone, name, backbone.peft_config[name], layers, ())


def refuse_others(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError where a file has something that is no LoRA of the backbone."""
    for mark, what in _OTHERS.items():
        if found := [key for key in tensors if mark in key]:
            raise ValueError(f"{path} is {what} ({found[0]!r}), which is not known here; LoRA is")
    if found := [key for key in tensors if _TEXT_ENCODER.match(key)]:
        raise ValueError(
            f"{path} also adapts a text encoder ({len(found)} of {len(tensors)} weights, first "
            f"{found[0]!r}): only adapters of the backbone are applied, and half an adapter would "
            "not be what its makers measured"
        )
    if not any("lora" in key for key in tensors):
        raise ValueError(f"{path} has no LoRA: its first weight is {next(iter(tensors), None)!r}")


def options_of(path: Path, header: Mapping[str, str], component: str) -> tuple[dict[str, Any], str]:
    """The options of peft beside a file or in its header, and the base that they name."""
    beside = path.parent / CONFIG_FILE
    if path.name == WEIGHTS_FILE or beside.is_file():
        if not beside.is_file():
            raise FileNotFoundError(f"no adapter in {path.parent}: {CONFIG_FILE} is missing")
        text = beside.read_bytes()
        options = lora_config(text, str(beside), APPLIED)
        base = json.loads(text.decode("utf-8-sig")).get("base_model_name_or_path")
        return options, str(base or "")
    if _HEADER not in header:
        return {}, ""
    where = f"{path}'s header"
    try:
        given = json.loads(header[_HEADER])
        parts = sorted({key.partition(".")[0] for key in given})
        if parts != [component]:
            raise ValueError(f"it has options of {', '.join(parts) or 'nothing'}, not {component}")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    own = {key.partition(".")[2]: value for key, value in given.items()}
    return lora_config(json.dumps(own), where, APPLIED), str(own.get("base_model_name_or_path", ""))


def of_kohya(
    tensors: Mapping[str, Tensor], backbone: nn.Module, component: str
) -> dict[str, Tensor]:
    """Kohya's names, which have ``_`` for every dot, in diffusers'; unchanged if they are those of
    another implementation of the backbone, which diffusers' own converter knows."""
    layers = {name.replace(".", "_"): name for name, _ in backbone.named_modules()}
    found = {}
    for key, tensor in tensors.items():
        match = _KOHYA.fullmatch(key)
        if match is None or match["layer"] not in layers:
            return dict(tensors)
        half = _HALVES.get(match["half"], match["half"])
        found[f"{component}.{layers[match['layer']]}.{half}"] = tensor
    return found


def with_component(tensors: Mapping[str, Tensor], component: str, path: Path) -> dict[str, Tensor]:
    """The weights under their component's name, without peft's prefix and the adapter's name."""
    found = {}
    for key, tensor in tensors.items():
        layer = key.removeprefix(PEFT_PREFIX)
        for other in COMPONENTS:
            if layer.startswith(f"{other}.") and other != component:
                raise ValueError(f"{path} is for a {other}, and this model has a {component}")
        layer = re.sub(r"\.(lora_[AB])\.(?!weight|bias)[^.]+\.", r".\1.", layer)
        found[layer if layer.startswith(f"{component}.") else f"{component}.{layer}"] = tensor
    return found


def converted(
    tensors: dict[str, Tensor], backbone: Any, component: str, pipeline_class: Any, path: Path
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The weights under peft's names, and alphas, of what the pipeline's own loader can convert."""
    # Of files in kohya's own names, diffusers' converter takes the alphas along.
    named = [key for key in tensors if key.startswith(f"{component}.") and key.endswith(".alpha")]
    alphas = {key: float(tensors.pop(key)) for key in named}
    convert = getattr(pipeline_class, "lora_state_dict", None)
    if convert is not None:
        given = {"unet_config": backbone.config} if component == "unet" else {}
        if "return_alphas" in inspect.signature(convert).parameters:
            given["return_alphas"] = True
        try:
            made = convert(tensors, **given)
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(f"{path}: its names of layers are not known: {error}") from error
        if isinstance(made, tuple):
            made, more = made[0], made[1]
            alphas |= {key: float(value) for key, value in (more or {}).items()}
        tensors = dict(made)
    if any(_KOHYA.match(key) for key in tensors):
        raise ValueError(
            f"{path}: {next(iter(tensors))!r} is a name of kohya's that is no layer's of this "
            f"{component}, and diffusers cannot convert it for {pipeline_class.__name__}"
        )
    return convert_unet_state_dict_to_peft(tensors), alphas


def in_float32(adapter: Adapter) -> Adapter:
    """The adapter with weights in float32, as noise networks have theirs."""
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.data = parameter.data.float()
    return adapter
