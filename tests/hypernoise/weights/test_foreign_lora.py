"""LoRA of other people has one reader, with one set of refusals: fused, or a method."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_loras import ALPHA, LAYOUTS, RANK, halves, save_peft, write
from published import published, small_generator
from safetensors.torch import load_file, save_file
from toys import build_generator, encode, noise_for

from hypernoise.methods.given_adapter import GivenAdapter
from hypernoise.models.distilled import fuse_lora
from hypernoise.models.protocol import Generator
from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE

Weights = dict[str, torch.Tensor]
#: The ways into a model, of which each is asked for every file.
WAYS: dict[str, Callable[[Generator, Path], object]] = {
    "fused": lambda generator, file: fuse_lora(generator.pipeline, str(file)),
    "a method": lambda generator, file: GivenAdapter(str(file)).attach(generator),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[[Generator, Path], object]:
    return WAYS[request.param]


@pytest.fixture
def generator() -> Iterator[Generator]:
    generator = build_generator("tiny_sd")
    before = {name: value.clone() for name, value in generator.backbone.state_dict().items()}
    yield generator
    # Whatever was refused left nothing behind.
    after = generator.backbone.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in after)


def spoilt(
    generator: Generator,
    folder: Path,
    weights: Callable[[Weights], Weights] = dict,
    config: dict[str, Any] | None = None,
    layout: str = "",
) -> Path:
    """A LoRA of the attention in peft's folder, or another layout, changed; the file's path."""
    save_peft(generator, folder / "peft").adapter.remove()
    if layout:
        out = write(layout, folder / "peft", generator, folder / layout, "to_")
        (file,) = out.iterdir()
    else:
        file = folder / "peft" / WEIGHTS_FILE
        save_file({k: w for k, w in load_file(file).items() if ".to_" in k}, file)
        options = json.loads((folder / "peft" / CONFIG_FILE).read_text())
        names = [name for name in options["target_modules"] if ".to_" in name]
        options |= {"target_modules": names} | (config or {})
        (folder / "peft" / CONFIG_FILE).write_text(json.dumps(options))
    save_file(weights(load_file(file)), file)
    return file


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("init_lora_weights", way) for way in ("pissa", "pissa_niter_4", "olora", "corda")),
        ("peft_type", "LOHA"),
        ("bias", "lora_only"),
        ("fan_in_fan_out", True),
        ("layers_to_transform", [0]),
        ("modules_to_save", ["conv_out"]),
        ("use_qalora", True),
        ("an_option_of_tomorrow", 3),
    ],
)
def test_options_that_mean_something_else_are_refused_by_name(
    generator: Generator, tmp_path: Path, way: Any, option: str, value: Any
) -> None:
    file = spoilt(generator, tmp_path, config={option: value})
    with pytest.raises(ValueError, match=f"{CONFIG_FILE} has {option} "):
        way(generator, file)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lora_bias": True}, "lacks the bias, and lora_bias is True"),
        ({"use_dora": True}, "lacks the magnitude of DoRA, and use_dora is True"),
        ({"target_modules": ["to_q", "conv_in"]}, r"not whole.* lacks 1 of them.*conv_in"),
        ({"target_modules": r".*\.(to_q|proj_in)"}, "is not whole: its options target"),
        ({"r": 2}, "has the rank 4, its options say 2"),
        ({"r": 0}, "r must be a whole number"),
        ({"r": 4.9}, "r must be a whole number"),
        ({"r": "4"}, "r must be a whole number"),
        ({"r": True}, "r must be a whole number"),
        ({"r": 10**9}, "has the rank 4, its options say 1000000000"),
        ({"lora_alpha": float("inf")}, "lora_alpha positive"),
        ({"lora_alpha": float("nan")}, "lora_alpha positive"),
        ({"lora_alpha": 10**400}, "lora_alpha positive"),
        ({"lora_alpha": "8"}, "lora_alpha positive"),
        ({"alpha_pattern": {"to_q": float("nan")}}, "alpha_pattern has"),
        ({"rank_pattern": {"to_q": "4"}}, "rank_pattern has"),
    ],
)
def test_weights_that_the_options_speak_of_and_the_file_lacks_are_named(
    generator: Generator, tmp_path: Path, way: Any, config: dict[str, Any], message: str
) -> None:
    file = spoilt(generator, tmp_path, config=config)
    with pytest.raises(ValueError, match=message):
        way(generator, file)


def some_layer(weights: Weights, end: str) -> str:
    return min(key for key in weights if key.endswith(end))


def lacking_a_factor(weights: Weights) -> Weights:
    del weights[some_layer(weights, "lora_B.weight")]
    return weights


def biased(weights: Weights) -> Weights:
    key = some_layer(weights, "lora_B.weight")
    return {**weights, key.replace("weight", "bias"): torch.zeros(len(weights[key]))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lacking_a_factor, "has no lora_B"),
        (lambda w: {k: v.int() for k, v in w.items()}, "has torch.int32, must have floating"),
        (lambda w: {k: v * float("nan") for k, v in w.items()}, "numbers that are not finite"),
        (biased, "has the bias, and lora_bias is False"),
        (lambda w: {k.replace("attn1", "attn9"): v for k, v in w.items()}, "for another base"),
        (lambda w: {k: v[:, :3].contiguous() for k, v in w.items()}, "for another base: layer"),
        (lambda w: {**w, "text_encoder.a.lora_A.weight": torch.ones(1)}, "adapts a text encoder"),
        (lambda w: {"x.weight": torch.ones(1)}, "has no LoRA"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    generator: Generator, tmp_path: Path, way: Any, change: Any, message: str
) -> None:
    file = spoilt(generator, tmp_path, change)
    with pytest.raises(ValueError, match=message):
        way(generator, file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {k: v * 0 if "alpha" in k else v for k, v in w.items()}, "must be positive"),
        (lambda w: {**w, "lora_unet_conv_in.alpha": torch.tensor(4.0)}, "layer without weights"),
        (lambda w: {**w, "lora_te_mlp.lora_down.weight": torch.ones(1)}, "a text encoder"),
        (lambda w: {**w, "lora_unet_conv_in.dora_scale": torch.ones(1)}, "DoRA in kohya's"),
    ],
)
def test_kohyas_faults_are_refused(
    generator: Generator, tmp_path: Path, way: Any, change: Any, message: str
) -> None:
    file = spoilt(generator, tmp_path, change, layout="kohya")
    with pytest.raises(ValueError, match=message):
        way(generator, file)


def test_a_pickle_is_refused(generator: Generator, tmp_path: Path, way: Any) -> None:
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"adapter_model\.bin is (no \.safetensors|pickled)"):
        way(generator, tmp_path / "adapter_model.bin")


def drawn(generator: Generator) -> torch.Tensor:
    with torch.no_grad():
        return generator.sample(noise_for(generator, 2), encode(generator), 1, [0, 1])


@pytest.mark.parametrize("family", ["tiny_sd", "tiny_sana", "tiny_flux"])
@pytest.mark.parametrize("layout", ["peft", *LAYOUTS])
def test_a_fused_adapter_draws_what_it_draws_as_a_method(
    tmp_path: Path, family: str, layout: str
) -> None:
    generator = build_generator(family)
    save_peft(generator, tmp_path / "peft").adapter.remove()
    plain = drawn(generator)
    folder = tmp_path / "peft"
    if layout != "peft":
        folder = write(layout, folder, generator, tmp_path / layout, "to_")
    (file,) = folder.glob("*.safetensors")
    method = GivenAdapter(str(file))
    method.attach(generator)
    made: Any = method._made
    with torch.no_grad():
        conditioning, noise = encode(generator), noise_for(generator, 2)
        wanted = made._tuner.draw(noise, conditioning, 1, [0, 1]).images
    fused = build_generator(family)
    fuse_lora(fused.pipeline, str(file))
    assert not torch.allclose(wanted, plain, atol=1e-3)
    torch.testing.assert_close(drawn(fused), wanted, rtol=0, atol=1e-4)


def test_a_layer_without_alpha_has_that_of_its_rank_and_not_that_of_its_neighbours(
    tmp_path: Path,
) -> None:
    generator = build_generator("tiny_sd")
    save_peft(generator, tmp_path / "peft").adapter.remove()
    before = {name: value.clone() for name, value in generator.backbone.state_dict().items()}
    (file,) = write("kohya", tmp_path / "peft", generator, tmp_path / "kohya", "to_").iterdir()
    weights = load_file(file)
    layers = {
        layer: f"lora_unet_{layer.replace('.', '_')}.alpha"
        for layer, _, _ in halves(tmp_path / "peft")
    }
    bare = min(layer for layer, key in layers.items() if key in weights)
    del weights[layers[bare]]
    save_file(weights, file)
    fuse_lora(generator.pipeline, str(file))
    factors = {(layer, half): weight for layer, half, weight in halves(tmp_path / "peft")}
    n_changed = 0
    for layer, key in layers.items():
        scale = 1.0 if layer == bare else ALPHA / RANK if key in weights else 0.0
        added = scale * factors[layer, "B"].flatten(1) @ factors[layer, "A"].flatten(1)
        was, now = before[f"{layer}.weight"], generator.backbone.state_dict()[f"{layer}.weight"]
        torch.testing.assert_close(now, was + added.view_as(was), rtol=0, atol=1e-5)
        n_changed += scale > 0
    assert n_changed > 8


@pytest.mark.parametrize("prefix", ["", "transformer.", "diffusion_model."])
def test_qwen_image_lightnings_names_with_dots_and_alphas_are_those_of_the_stock_pipeline(
    tmp_path: Path, prefix: str
) -> None:
    spec = next(spec for spec in published() if spec.name.startswith("qwen_image"))
    generator, stock = small_generator(spec), small_generator(spec)
    save_peft(generator, tmp_path / "peft").adapter.remove()
    named = {"A": "lora_down", "B": "lora_up"}
    weights: Weights = {}
    for layer, half, weight in halves(tmp_path / "peft"):
        if "attn" in layer:
            weights[f"{prefix}{layer}.{named[half]}.weight"] = weight
            weights[f"{prefix}{layer}.alpha"] = torch.tensor(ALPHA)
    save_file(weights, tmp_path / "lightning.safetensors")
    plain = drawn(generator)
    fuse_lora(generator.pipeline, str(tmp_path / "lightning.safetensors"))
    if prefix != "transformer.":
        # diffusers takes them without a prefix, or with that of ComfyUI.
        stock.pipeline.load_lora_weights(str(tmp_path), weight_name="lightning.safetensors")
        stock.pipeline.fuse_lora()
        stock.pipeline.unload_lora_weights()
        assert torch.equal(drawn(generator), drawn(stock))
    assert not torch.allclose(drawn(generator), plain, atol=1e-3)
