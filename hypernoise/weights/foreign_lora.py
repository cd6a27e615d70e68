"""LoRA of other people: read in the layouts that there are, held against a backbone, put into it.

This is the one reader of such files, for adapters that are methods and for those that are fused
into a model's weights. Layouts are peft's folder, diffusers' file (``lora_A`` and ``lora_B``, or
the older ``lora.down`` and ``lora.up``, with peft's options in its header or without) and kohya's
(``lora_down``, ``lora_up`` and ``alpha``, of ``lora_unet_`` names with ``_`` for every dot or of
names with dots). diffusers converts what has other names than the backbone and puts it in; here it
is only made sure that nothing is left out: what diffusers would drop with a warning, or fill in by
itself, is refused.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors import safe_open
from torch import Tensor, nn

from hypernoise.weights.folders import PICKLES, check_file
from hypernoise.weights.lora_layouts import converted, options_of, refuse_others, renamed
from hypernoise.weights.pipelines import component_of
from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE, check_numbers

Layout = Literal["peft", "diffusers", "kohya"]
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
#: Of what layers have besides: the option that it is trained with, and what it is called.
_BESIDES = {"use_dora": "magnitude of DoRA", "lora_bias": "bias"}
_WEIGHT = re.compile(
    r"(?P<layer>.+)\.(?P<half>lora_[AB])(?:\.(?P<adapter>(?!bias|weight)[^.]+))?\.(?P<what>weight|bias)"
    r"|(?P<dora>.+)\.lora_magnitude_vector(?:\..*)?"
)


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
    check_numbers(tensors, path)
    options, config = options_of(path, header, component)
    if options and (said := [key for key in tensors if key.endswith(".alpha")]):
        raise ValueError(f"{path} has its options twice: {said[0]!r}, and lora_alpha beside it")
    is_kohya = any("lora_down" in key for key in tensors)
    layout: Layout = "kohya" if is_kohya else "diffusers"
    if not is_kohya and (path.parent / CONFIG_FILE).is_file():
        layout = "peft"
    tensors = renamed(tensors, backbone, component, path)
    tensors, alphas = converted(tensors, backbone, component, pipeline_class, path)
    base = str(config.get("base_model_name_or_path") or "")
    found = ForeignLora(path, layout, component, tensors, alphas, options, base)
    check_fit(found, backbone)
    check_whole(found, backbone, config)
    return replace(found, alphas=alphas_of_all(found)) if alphas else found


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


def check_whole(lora: ForeignLora, backbone: nn.Module, config: Mapping[str, Any]) -> None:
    """Check that a LoRA has all weights that its options speak of: peft would draw the others.

    Args:
        lora: of layers that the backbone has.
        backbone: the backbone.
        config: peft's options as the file has them; empty where it has none.

    Raises:
        ValueError: some layers have a bias or magnitude and others have not, or the options say
            otherwise, or another rank, or target layers that the file lacks.
    """
    start = len(lora.component) + 1
    found = [match for key in lora.weights if (match := _WEIGHT.fullmatch(key[start:]))]
    having = {
        "use_dora": {match["dora"] for match in found if match["dora"]},
        "lora_bias": {match["layer"] for match in found if match["what"] == "bias"},
    }
    for option, what in _BESIDES.items():
        is_wanted = bool(config.get(option)) if config else bool(having[option])
        odd = having[option] ^ (set(lora.layers) if is_wanted else set())
        if odd:
            said = f"{option} is {is_wanted}" if config else "others have it"
            has = "lacks" if is_wanted else "has"
            raise ValueError(f"{lora.path}: layer {min(odd)} {has} the {what}, and {said}")
    for layer in lora.layers if lora.options else ():
        patterns = lora.options.get("rank_pattern") or {}
        rank = patterns.get(get_pattern_key(list(patterns), layer), lora.options["r"])
        down = lora.weight(layer, "lora_A")
        if down is not None and len(down) != rank:
            raise ValueError(
                f"{lora.path}: layer {layer} has the rank {len(down)}, its options say {rank}"
            )
    targets = config.get("target_modules")
    if targets and targets != "all-linear":
        asked = LoraConfig(target_modules=targets, exclude_modules=config.get("exclude_modules"))
        wanted = [name for name in _adaptable(backbone) if check_target_module_exists(asked, name)]
        if lacking := sorted(set(wanted) - set(lora.layers)):
            raise ValueError(
                f"{lora.path} is not whole: its options target {len(wanted)} layers, and it lacks "
                f"{len(lacking)} of them, the first is {lacking[0]}"
            )


def _adaptable(backbone: nn.Module) -> Iterator[str]:
    """Names of the layers that take LoRA; those of LoRA that is there already are none."""
    inside: tuple[str, ...] = ()
    for name, module in backbone.named_modules():
        if inside and name.startswith(inside):
            continue
        if isinstance(module, LoraLayer):
            inside = (f"{name}.",)
        base: Any = module.get_base_layer() if isinstance(module, LoraLayer) else module
        if isinstance(base, nn.Linear | nn.Conv2d) and getattr(base, "groups", 1) == 1:
            yield name


def alphas_of_all(lora: ForeignLora) -> dict[str, float]:
    """The alpha of every layer: that of its rank, for layers of which a file does not say it.

    Raises:
        ValueError: one is not positive, or is of a layer without weights.
    """
    ranks = {layer: lora.weight(layer, "lora_A") for layer in lora.layers}
    named = {f"{lora.component}.{layer}.alpha": rank for layer, rank in ranks.items()}
    for key, alpha in lora.alphas.items():
        if key not in named:
            raise ValueError(f"{lora.path}: {key!r} is the alpha of a layer without weights")
        if not 0 < alpha < math.inf:
            raise ValueError(f"{lora.path}: {key!r} is {alpha}, must be positive")
    own = {key: float(len(rank)) for key, rank in named.items() if rank is not None}
    return {**own, **lora.alphas}


def load(lora: ForeignLora, backbone: Any, name: str) -> dict[str, Any]:
    """Put a LoRA into a backbone, switched on, by diffusers' own loader; its weights are frozen.

    Args:
        lora: of :func:`read`.
        backbone: diffusers' UNet or transformer.
        name: the adapter's name in it.

    Returns:
        the adapted layers, peft's, by their name in the backbone.

    Raises:
        ValueError: its options contradict its weights.
    """
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
    # peft marks the adapter as trainable, and what was there before as not.
    for parameter in backbone.parameters():
        parameter.requires_grad_(asked.get(parameter, False))
    if sorted(layers) != lora.layers:
        raise RuntimeError(f"diffusers adapted other layers: {set(layers) ^ set(lora.layers)}")
    for key, alpha in lora.alphas.items():
        # Alphas that differ are told apart by the ends of names, which layers may share.
        layer = layers[key.removeprefix(f"{lora.component}.").removesuffix(".alpha")]
        layer.lora_alpha[name] = alpha
        layer.set_scale(name, 1.0)
    return layers
