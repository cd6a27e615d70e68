"""Files of LoRA in the layouts of peft, diffusers and kohya: their options, and the names of their
weights as peft has them.

What diffusers can convert is given to its own converter. What is no LoRA, or also adapts a text
encoder, is refused.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from torch import Tensor, nn

from hypernoise.weights.pipelines import COMPONENTS
from hypernoise.weights.saved_lora import (
    CONFIG_FILE,
    PEFT_PREFIX,
    PLAIN,
    WEIGHTS_FILE,
    lora_config,
)

#: Options of peft that it applies itself when it is handed the weights.
APPLIED = PLAIN | {"use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "lora_bias"}
#: In a file's header, where diffusers keeps peft's options.
_HEADER = "lora_adapter_metadata"
_KOHYA = re.compile(r"lora_(?:unet|transformer)_(?P<layer>[^.]+)\.(?P<half>.+)")
_HALVES = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
#: Before diffusers' own names of layers, in files of other tools.
_PREFIX = "diffusion_model."
_TEXT_ENCODER = re.compile(r"(?:base_model\.model\.)?(text_encoder|lora_te\d?_|te\d?\.)")
#: Patterns of keys -> what has such keys, and is no LoRA that is known here.
_OTHERS = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "oft_": "OFT",
    "lora_mid": "LoRA with a core of its own (Tucker)",
    "dora_scale": "DoRA in kohya's layout",
    r"\.diff(_b)?$": "whole differences of weights",
    "lora_controlnet": "a Control-LoRA",
    "lora_embedding": "embeddings",
}


def refuse_others(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError where a file has something that is no LoRA of the backbone."""
    for mark, what in _OTHERS.items():
        if found := [key for key in tensors if re.search(mark, key)]:
            raise ValueError(f"{path} is {what} ({found[0]!r}), which is not known here; LoRA is")
    if found := [key for key in tensors if _TEXT_ENCODER.match(key)]:
        raise ValueError(
            f"{path} also adapts a text encoder ({len(found)} of {len(tensors)} weights, first "
            f"{found[0]!r}): only adapters of the backbone are applied, and half an adapter would "
            "not be what its makers measured"
        )
    if not any("lora" in key for key in tensors):
        raise ValueError(f"{path} has no LoRA: its first weight is {next(iter(tensors), None)!r}")


def options_of(
    path: Path, header: Mapping[str, str], component: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of peft beside a file or in its header: those that are applied, and all."""
    beside = path.parent / CONFIG_FILE
    if path.name == WEIGHTS_FILE or beside.is_file():
        if not beside.is_file():
            raise FileNotFoundError(f"no adapter in {path.parent}: {CONFIG_FILE} is missing")
        text = beside.read_bytes()
        options = lora_config(text, str(beside), APPLIED)
        return options, json.loads(text.decode("utf-8-sig"))
    if _HEADER not in header:
        return {}, {}
    where = f"{path}'s header"
    try:
        given = json.loads(header[_HEADER])
        parts = sorted({key.partition(".")[0] for key in given})
        if parts != [component]:
            raise ValueError(f"it has options of {', '.join(parts) or 'nothing'}, not {component}")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    own = {key.partition(".")[2]: value for key, value in given.items()}
    return lora_config(json.dumps(own), where, APPLIED), own


def renamed(
    tensors: Mapping[str, Tensor], backbone: nn.Module, component: str, path: Path
) -> dict[str, Tensor]:
    """The weights under diffusers' names, where they have another form of the backbone's."""
    if any(_KOHYA.match(key) for key in tensors):
        return of_kohya(tensors, backbone, component)
    return with_component(tensors, backbone, component, path)


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


def with_component(
    tensors: Mapping[str, Tensor], backbone: nn.Module, component: str, path: Path
) -> dict[str, Tensor]:
    """The weights under their component's name and peft's names of the two factors, without peft's
    prefix and the adapter's name."""
    layers = {name for name, _ in backbone.named_modules()}
    found = {}
    for key, tensor in tensors.items():
        layer = key.removeprefix(PEFT_PREFIX)
        for other in COMPONENTS:
            if layer.startswith(f"{other}.") and other != component:
                raise ValueError(f"{path} is for a {other}, and this model has a {component}")
        layer = re.sub(r"\.(lora_[AB])\.(?!weight|bias)[^.]+\.", r".\1.", layer)
        for theirs, ours in _HALVES.items():
            if layer.endswith(f".{theirs}"):
                layer = layer.removesuffix(theirs) + ours
        bare = layer.removeprefix(_PREFIX)
        if re.sub(r"\.(lora_[AB]\.weight|alpha)$", "", bare) in layers:
            # Else diffusers may know it as a name of another implementation.
            layer = bare
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
