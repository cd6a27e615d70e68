"""Adapters of peft before 0.16: LoRA on grouped convolutions as well, with dense A."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SanaTransformer2DModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from toys import build_generator, encode, noise_for

from hypernoise.methods.given_adapter import GivenAdapter
from hypernoise.methods.protocol import Request
from hypernoise.models.protocol import Generator
from hypernoise.networks.adapter import Adapter, attach
from hypernoise.networks.grouped_lora import GroupedLora
from hypernoise.networks.merged import MergedNoiseNetwork
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE, saved_n_parameters

RANK, ALPHA = 4, 8.0
SCALE = ALPHA / RANK
PEFT = "base_model.model."
NAMED = f"{PEFT}proj_out.lora_A.hypernoise_adapter.weight"
DEPTHWISE = "transformer_blocks.0.ff.conv_depth"

Weights = dict[str, Tensor]


def adapted(backbone: nn.Module) -> dict[str, Any]:
    """Every layer that the published adapters adapt."""
    modules = backbone.named_modules()
    return {name: m for name, m in modules if isinstance(m, nn.Linear | nn.Conv2d)}


def is_plain(backbone: nn.Module) -> bool:
    return not any(isinstance(module, GroupedLora | LoraLayer) for module in backbone.modules())


def old_weights(backbone: nn.Module) -> Weights:
    """LoRA weights by "layer.half", in the shapes that peft before 0.16 gave them."""
    source = torch.Generator().manual_seed(1)
    found: Weights = {}
    for name, layer in adapted(backbone).items():
        is_linear = isinstance(layer, nn.Linear)
        n_in = layer.in_features if is_linear else layer.in_channels
        n_out = layer.out_features if is_linear else layer.out_channels
        a = (RANK, n_in) if is_linear else (RANK, n_in, *layer.kernel_size)
        b = (n_out, RANK) if is_linear else (n_out, RANK, 1, 1)
        found[f"{name}.lora_A"] = torch.randn(a, generator=source) * 0.05
        found[f"{name}.lora_B"] = torch.randn(b, generator=source) * 0.1
    return found


def write(folder: Path, weights: Weights, **options: Any) -> None:
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "use_rslora": False} | options
    config["target_modules"] = sorted({key.rpartition(".lora_")[0] for key in weights})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    save_file(weights, folder / WEIGHTS_FILE)


def named(weights: Weights, prefix: str = PEFT, adapter: str = "hypernoise_adapter") -> Weights:
    tail = f".{adapter}.weight" if adapter else ".weight"
    return {f"{prefix}{key}{tail}": weight for key, weight in weights.items()}


@pytest.fixture(scope="module")
def generator() -> Generator:
    return build_generator("tiny_sana")


@pytest.fixture(scope="module")
def weights(generator: Generator) -> Weights:
    return old_weights(generator.backbone)


@pytest.fixture
def published(generator: Generator, weights: Weights, tmp_path: Path) -> Iterator[NoiseNetwork]:
    """A noise network from a checkpoint in the layout of the published ones."""
    write(tmp_path / "published", named(weights))
    network = NoiseNetwork.trained(generator, tmp_path / "published")
    yield network
    if network.adapter.name in getattr(generator.backbone, "peft_config", {}):
        network.adapter.remove()


def of_layers(adapter: Adapter) -> Weights:
    return {
        f"{name}.{half}": getattr(layer, half)[adapter.name].weight
        for name, layer in adapter.layers.items()
        for half in ("lora_A", "lora_B")
    }


@pytest.mark.parametrize("prefix", [PEFT, "transformer.", ""])
@pytest.mark.parametrize("adapter", ["hypernoise_adapter", ""])
def test_every_layout_of_names_loads(
    generator: Generator, weights: Weights, tmp_path: Path, prefix: str, adapter: str
) -> None:
    write(tmp_path, named(weights, prefix, adapter))
    trained = NoiseNetwork.trained(generator, tmp_path)
    found = of_layers(trained.adapter)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weight) for key, weight in weights.items())
    assert (trained.adapter.config.r, trained.adapter.config.lora_alpha) == (RANK, ALPHA)
    assert trained.adapter.skipped == ()
    trained.adapter.remove()


def test_delta_is_that_of_a_plain_backbone_with_dense_convolutions(
    published: NoiseNetwork, weights: Weights
) -> None:
    generator = build_generator("tiny_sana")
    noise, conditioning = noise_for(generator, 2), encode(generator)
    for name, layer in adapted(generator.backbone).items():
        a, b = weights[f"{name}.lora_A"], weights[f"{name}.lora_B"]
        change = SCALE * torch.einsum("or...,r...->o...", b.flatten(1), a.flatten(1))
        if isinstance(layer, nn.Conv2d):
            change = change.reshape(layer.out_channels, layer.in_channels, *layer.kernel_size)
            merge_dense(generator.backbone, name, layer, change)
        else:
            layer.weight.add_(change)
    last = generator.backbone.get_submodule("proj_out")
    last.weight = nn.Parameter(SCALE * weights["proj_out.lora_B"] @ weights["proj_out.lora_A"])
    last.bias = None
    with torch.no_grad():
        expected = generator.predict(noise, conditioning)
        delta = published.delta(noise, conditioning)
    assert delta.abs().max() > 0.01
    # float32 sums in another order, through six blocks.
    torch.testing.assert_close(delta, expected, rtol=1e-3, atol=1e-5)


def merge_dense(backbone: nn.Module, name: str, layer: nn.Conv2d, change: Tensor) -> None:
    """Put a dense convolution in the place of a grouped one, with another weight added."""
    per_group = layer.in_channels // layer.groups
    dense = torch.zeros_like(change)
    for channel in range(layer.out_channels):
        start = channel // (layer.out_channels // layer.groups) * per_group
        dense[channel, start : start + per_group] = layer.weight[channel]
    merged = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
    )
    merged.weight = nn.Parameter(dense + change, requires_grad=False)
    merged.bias = layer.bias
    parent, _, child = name.rpartition(".")
    setattr(backbone.get_submodule(parent), child, merged)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_layer_is_the_frozen_convolution_plus_the_scaled_branch(dtype: torch.dtype) -> None:
    base = nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=3, dtype=dtype)
    layer = GroupedLora(base)
    layer.add_adapter("one", rank=2, alpha=5.0)
    a, b = layer.lora_A["one"].weight, layer.lora_B["one"].weight
    assert isinstance(a, Tensor)
    assert isinstance(b, Tensor)
    assert (a.dtype, b.dtype) == (torch.float32, torch.float32)
    x = torch.randn(2, 6, 9, 9, dtype=dtype)
    with torch.no_grad():
        b.normal_()
        frozen = functional.conv2d(x, base.weight, base.bias, stride=2, padding=1, groups=3)
        branch = functional.conv2d(functional.conv2d(x.float(), a, stride=2, padding=1), b)
        assert torch.equal(layer(x), frozen)
        layer.__dict__.update(_disable_adapters=False, _active_adapter=["one"])
        assert torch.equal(layer(x), (frozen + 2.5 * branch).to(dtype))
        assert layer(x).dtype == dtype
        layer.__dict__.update(_active_adapter=["another"])
        assert torch.equal(layer(x), frozen)
        layer.__dict__.update(_disable_adapters=True, _active_adapter=["one"])
        assert torch.equal(layer(x), frozen)


def test_the_generator_is_the_frozen_one_outside_the_noise_pass(
    generator: Generator, weights: Weights, tmp_path: Path
) -> None:
    noise, conditioning = noise_for(generator, 2), encode(generator)
    write(tmp_path, named(weights))
    with torch.no_grad():
        images = generator.sample(noise, conditioning)
        network = NoiseNetwork.trained(generator, tmp_path)
        network.draw(noise, conditioning)
        assert torch.equal(generator.sample(noise, conditioning), images)
    network.adapter.remove()
    assert is_plain(generator.backbone)


@pytest.mark.parametrize("moves_noise", [True, False])
def test_a_method_takes_an_adapter_that_peft_no_longer_reads(
    weights: Weights, tmp_path: Path, moves_noise: bool
) -> None:
    write(tmp_path, named(weights))
    generator = build_generator("tiny_sana")
    noise, conditioning = noise_for(generator, 2), encode(generator, 2)
    plain = generator.sample(noise, conditioning)
    request = Request(generator, conditioning, noise, [1, 2])
    found = GivenAdapter(str(tmp_path), moves_noise=moves_noise).run(request)
    assert not torch.equal(found.images, plain)
    assert torch.equal(found.noise, noise) != moves_noise


def test_gradients_reach_every_weight(published: NoiseNetwork) -> None:
    noise, conditioning = noise_for(published.generator, 2), encode(published.generator)
    published.draw(noise, conditioning).images.square().mean().backward()
    grads = {key: weight.grad for key, weight in published.adapter.named_weights().items()}
    assert not [key for key, grad in grads.items() if grad is None or not grad.abs().max() > 0]
    frozen = {id(w) for w in published.parameters()}
    rest = [p for p in published.generator.backbone.parameters() if id(p) not in frozen]
    assert not any(p.requires_grad for p in rest)


def test_what_was_loaded_is_saved_in_pefts_layout_and_loads_again(
    published: NoiseNetwork, weights: Weights, tmp_path: Path
) -> None:
    generator = published.generator
    noise, conditioning = noise_for(generator, 2), encode(generator)
    published.save(tmp_path / "again")
    assert load_file(tmp_path / "again" / WEIGHTS_FILE).keys() == named(weights, adapter="").keys()
    config = json.loads((tmp_path / "again" / CONFIG_FILE).read_text())
    assert config["target_modules"] == sorted(adapted(build_generator("tiny_sana").backbone))
    again = NoiseNetwork.trained(generator, tmp_path / "again")
    with torch.no_grad():
        delta = published.delta(noise, conditioning)
        assert torch.equal(again.delta(noise, conditioning), delta)  # type: ignore[union-attr]
        again.adapter.remove()
        assert torch.equal(published.delta(noise, conditioning), delta)
    assert saved_n_parameters(tmp_path / "again") == published.n_parameters


def test_a_merged_network_moves_the_noise_alike_and_leaves_the_backbone_plain(
    published: NoiseNetwork,
) -> None:
    generator = published.generator
    noise, conditioning = noise_for(generator, 2), encode(generator)
    with torch.no_grad():
        expected = published.delta(noise, conditioning)
        predicted = generator.predict(noise, conditioning)
        merged = MergedNoiseNetwork(published)
        delta = merged.delta(noise, conditioning)
        assert torch.equal(generator.predict(noise, conditioning), predicted)
    # Merging rounds every weight once.
    torch.testing.assert_close(delta, expected, rtol=1e-3, atol=1e-5)
    assert is_plain(generator.backbone)


def test_new_adapters_leave_grouped_convolutions_out_beside_a_loaded_one(
    published: NoiseNetwork,
) -> None:
    generator = published.generator
    noise, conditioning = noise_for(generator, 2), encode(generator)
    with torch.no_grad():
        delta = published.delta(noise, conditioning)
        fresh = attach(generator.backbone, "fresh", rank=2, alpha=2.0)
        assert fresh.n_grouped_parameters == 0
        assert DEPTHWISE in fresh.skipped
        assert not any("conv_depth" in name for name in fresh.layers)
        assert torch.equal(published.delta(noise, conditioning), delta)
        fresh.remove()
        assert torch.equal(published.delta(noise, conditioning), delta)


def spoil(weights: Weights, what: str) -> Weights:
    spoilt = named(weights)
    if what == "another form":
        spoilt[f"{PEFT}proj_out.lora.down.weight"] = spoilt.pop(NAMED)
    if what == "two adapters":
        spoilt[f"{PEFT}proj_out.lora_B.other.weight"] = torch.zeros(4, RANK)
    if what == "two prefixes":
        spoilt[NAMED.removeprefix(PEFT)] = spoilt.pop(NAMED)
    if what == "one missing":
        del spoilt[f"{PEFT}{DEPTHWISE}.lora_B.hypernoise_adapter.weight"]
    if what == "one more":
        spoilt[f"{PEFT}another.lora_A.hypernoise_adapter.weight"] = torch.zeros(1)
    if what == "grouped A":
        key = f"{PEFT}{DEPTHWISE}.lora_A.hypernoise_adapter.weight"
        spoilt[key] = spoilt[key][:, :1].clone()
    return spoilt


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("another form", r"'base_model\.model\.proj_out\.lora\.down\.weight' is not the name"),
        ("two adapters", r"'\S*proj_out\.lora_B\.other\.weight' has another prefix or adapter"),
        ("two prefixes", r"'proj_out\.lora_A\.hypernoise_adapter\.weight' has another prefix"),
        ("one missing", rf"1 weights differ, first '\S*{DEPTHWISE}\.lora_B\S*', which the file"),
        ("one more", r"another\.lora_A\.hypernoise_adapter\.weight', which this backbone lacks"),
        ("grouped A", r"conv_depth\.lora_A\S* has shape \(4, 1, 3, 3\), .* needs \(4, 640, 3, 3\)"),
    ],
)
def test_files_of_another_layout_are_refused(
    generator: Generator, weights: Weights, tmp_path: Path, what: str, message: str
) -> None:
    write(tmp_path, spoil(weights, what))
    with pytest.raises(ValueError, match=message) as caught:
        NoiseNetwork.trained(generator, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert is_plain(generator.backbone)


@pytest.mark.parametrize(
    "option", [{"use_rslora": True}, {"use_dora": True}, {"alpha_pattern": {"proj_out": 1}}]
)
def test_a_lora_of_another_kind_is_refused(
    generator: Generator, weights: Weights, tmp_path: Path, option: dict[str, Any]
) -> None:
    write(tmp_path, named(weights), **option)
    with pytest.raises(ValueError, match=f"has {next(iter(option))} .* is not known here"):
        NoiseNetwork.trained(generator, tmp_path)


#: SANA-Sprint 0.6B, Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers.
SANA_SPRINT: dict[str, Any] = {
    "attention_head_dim": 32,
    "caption_channels": 2304,
    "cross_attention_dim": 1152,
    "cross_attention_head_dim": 72,
    "guidance_embeds": True,
    "in_channels": 32,
    "mlp_ratio": 2.5,
    "num_attention_heads": 36,
    "num_cross_attention_heads": 16,
    "num_layers": 28,
    "out_channels": 32,
    "patch_size": 1,
    "qk_norm": "rms_norm_across_heads",
    "sample_size": 32,
}


def test_two_thirds_of_the_published_adapter_are_in_depthwise_convolutions() -> None:
    with torch.device("meta"):
        backbone = SanaTransformer2DModel(**SANA_SPRINT)
    plain = attach(backbone, "plain", rank=128, alpha=256.0)
    full = attach(backbone, "full", rank=128, alpha=256.0, grouped=True)
    assert len(full.layers) == 317
    assert (len(plain.layers), len(plain.skipped), full.skipped) == (289, 28, ())
    assert round(full.n_parameters / 1e6, 1) == 314.7
    assert round(full.n_grouped_parameters / 1e6, 1) == 206.4
    assert plain.n_grouped_parameters == 0
    assert plain.n_parameters == full.n_parameters - full.n_grouped_parameters
