from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import nn
from toys import build_generator, encode, noise_for, stir

from hypernoise.models.protocol import Generator
from hypernoise.networks.adapter import active_in, attach
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.training.kinds import kind_of
from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE


def lora_layers(backbone: nn.Module) -> list[str]:
    return [name for name, module in backbone.named_modules() if isinstance(module, LoraLayer)]


def test_an_untrained_noise_network_moves_nothing(network: NoiseNetwork) -> None:
    generator = network.generator
    noise, conditioning = noise_for(generator, 2), encode(generator)
    delta = network.delta(noise, conditioning)
    assert delta.shape == noise.shape
    assert delta.dtype == torch.float32
    assert delta.abs().max() == 0
    with torch.no_grad():
        drawn = network.draw(noise, conditioning)
        assert torch.equal(drawn.images, generator.sample(noise, conditioning))


def test_delta_has_neither_weight_nor_bias_of_the_frozen_last_layer(network: NoiseNetwork) -> None:
    generator = network.generator
    stir(network.adapter)
    noise, conditioning = noise_for(generator, 2), encode(generator)
    last = network.adapter.layers[generator.last_layer].get_base_layer()
    before = copy.deepcopy(last.state_dict())
    with torch.no_grad():
        delta = network.delta(noise, conditioning)
        last.weight.add_(100)
        last.bias.add_(100)
        changed = network.delta(noise, conditioning)
        last.load_state_dict(before)
    assert delta.abs().max() > 0
    assert torch.equal(delta, changed)


def test_delta_is_the_lora_branch_of_the_last_layer(network: NoiseNetwork) -> None:
    generator = network.generator
    stir(network.adapter)
    noise, conditioning = noise_for(generator, 2), encode(generator)
    layer = network.adapter.layers[generator.last_layer]
    seen: dict[str, Any] = {}
    handle = layer.register_forward_hook(lambda _m, x, y: seen.update(x=x[0], y=y))
    with torch.no_grad():
        delta = network.delta(noise, conditioning)
        handle.remove()
        branch = layer.lora_B["hypernoise"](layer.lora_A["hypernoise"](seen["x"])) * (8.0 / 4)
    torch.testing.assert_close(seen["y"], branch, rtol=0, atol=0)
    # What follows the last layer only rearranges: nothing is added to the branch.
    torch.testing.assert_close(delta.sum(), branch.sum(), rtol=1e-4, atol=1e-4)
    assert torch.equal(delta.abs().flatten().sort().values, branch.abs().flatten().sort().values)


def test_every_linear_and_ungrouped_convolution_is_adapted(generator: Generator) -> None:
    modules = dict(generator.backbone.named_modules())
    convolutions = {n: m for n, m in modules.items() if isinstance(m, nn.Conv2d)}
    grouped = {name for name, module in convolutions.items() if module.groups > 1}
    expected = {n for n, m in modules.items() if isinstance(m, nn.Linear)}
    expected |= convolutions.keys() - grouped
    adapter = attach(generator.backbone, "counted", rank=2, alpha=2.0)
    assert set(adapter.layers) == expected
    assert set(adapter.skipped) == grouped
    assert adapter.n_parameters == sum(p.numel() for p in adapter.parameters())
    adapter.remove()


def test_sanas_depthwise_convolutions_are_counted_as_skipped(tiny_sana: Generator) -> None:
    adapter = attach(tiny_sana.backbone, "counted", rank=2, alpha=2.0)
    assert len(adapter.skipped) == 6
    adapter.remove()


def test_excluded_layers_get_no_lora(tiny_sd: Generator) -> None:
    adapter = attach(tiny_sd.backbone, "partial", rank=2, alpha=2.0, exclude=["down_blocks.*"])
    assert adapter.layers
    assert not [name for name in adapter.layers if name.startswith("down_blocks.")]
    adapter.remove()


def test_the_generator_stays_the_frozen_one(generator: Generator) -> None:
    noise, conditioning = noise_for(generator, 2), encode(generator)
    with torch.no_grad():
        predicted = generator.predict(noise, conditioning)
        images = generator.sample(noise, conditioning)
        network = NoiseNetwork(generator, rank=4, alpha=8.0)
        tuner = FineTuner(generator, rank=2, alpha=8.0)
        stir(network.adapter)
        stir(tuner.adapter)
        network.draw(noise, conditioning)
        tuner.draw(noise, conditioning)
        assert torch.equal(generator.predict(noise, conditioning), predicted)
        assert torch.equal(generator.sample(noise, conditioning), images)
        tuner.adapter.remove()
        network.adapter.remove()
        assert torch.equal(generator.sample(noise, conditioning), images)
    assert not lora_layers(generator.backbone)
    assert not hasattr(generator.backbone, "peft_config")


def test_two_adapters_on_one_backbone_do_not_disturb_each_other(tiny_sd: Generator) -> None:
    noise, conditioning = noise_for(tiny_sd, 2), encode(tiny_sd)
    with torch.no_grad():
        network = NoiseNetwork(tiny_sd, rank=4, alpha=8.0)
        stir(network.adapter)
        alone = network.delta(noise, conditioning)
        tuner = FineTuner(tiny_sd, rank=2, alpha=4.0)
        stir(tuner.adapter)
        assert torch.equal(network.delta(noise, conditioning), alone)
        tuned = tuner.draw(noise, conditioning).images
        network.adapter.remove()
        assert torch.equal(tuner.draw(noise, conditioning).images, tuned)
        tuner.adapter.remove()


def test_attaching_a_second_adapter_leaves_the_first_trainable(tiny_sd: Generator) -> None:
    first = attach(tiny_sd.backbone, "first", rank=2, alpha=2.0)
    frozen = first.parameters()[0].requires_grad_(False)
    second = attach(tiny_sd.backbone, "second", rank=2, alpha=2.0)
    assert not frozen.requires_grad
    assert all(parameter.requires_grad for parameter in first.parameters()[1:])
    assert all(parameter.requires_grad for parameter in second.parameters())
    own = {id(p) for adapter in (first, second) for p in adapter.parameters()}
    rest = [p for p in tiny_sd.backbone.parameters() if id(p) not in own]
    assert not any(parameter.requires_grad for parameter in rest)
    second.remove()
    first.remove()


def test_gradients_survive_switching_off_before_the_backward_pass(network: NoiseNetwork) -> None:
    generator = network.generator
    stir(network.adapter, scale=0.05)
    conditioning = encode(generator)
    images, delta, _ = network.draw(noise_for(generator, 2), conditioning)
    assert delta is not None
    assert not any(active_in(layer) for layer in network.adapter.layers.values())
    assert all(parameter.requires_grad for parameter in network.parameters())
    images.square().mean().backward()
    weights = network.adapter.named_weights()
    dead = [k for k, w in weights.items() if w.grad is None or not w.grad.abs().max() > 0]
    assert not dead


def test_the_first_gradient_reaches_the_last_layer(network: NoiseNetwork) -> None:
    images = network.draw(noise_for(network.generator, 2), encode(network.generator)).images
    images.square().mean().backward()
    last = network.adapter.layers[network.generator.last_layer].lora_B["hypernoise"].weight
    assert last.grad is not None
    assert last.grad.abs().max() > 0


def test_fine_tuning_gets_gradients_in_every_layer(tuner: FineTuner) -> None:
    stir(tuner.adapter, scale=0.05)
    images, delta, _ = tuner.draw(noise_for(tuner.generator, 2), encode(tuner.generator))
    assert delta is None
    images.square().mean().backward()
    weights = tuner.adapter.named_weights()
    assert not [k for k, w in weights.items() if w.grad is None or not w.grad.abs().max() > 0]


def test_a_fine_tuned_generator_is_another_only_while_active(tuner: FineTuner) -> None:
    generator = tuner.generator
    stir(tuner.adapter)
    noise, conditioning = noise_for(generator, 2), encode(generator)
    with torch.no_grad():
        base = generator.sample(noise, conditioning)
        with tuner.active():
            tuned = generator.sample(noise, conditioning)
        assert not torch.allclose(base, tuned, atol=1e-3)
        assert torch.equal(generator.sample(noise, conditioning), base)
        assert torch.equal(tuner.draw(noise, conditioning).images, tuned)


def test_an_error_in_a_pass_leaves_the_adapter_off(tiny_sd: Generator) -> None:
    network = NoiseNetwork(tiny_sd, rank=2, alpha=2.0)
    stir(network.adapter)
    noise, conditioning = noise_for(tiny_sd, 2), encode(tiny_sd)
    with torch.no_grad():
        predicted = tiny_sd.predict(noise, conditioning)
        with pytest.raises(RuntimeError):
            network.delta(noise[:, :1], conditioning)
        assert torch.equal(tiny_sd.predict(noise, conditioning), predicted)
    network.adapter.remove()


def test_a_is_gaussian_and_seeded_and_b_zero(tiny_sd: Generator) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    adapters = [
        attach(tiny_sd.backbone, f"a{i}", rank=8, alpha=8.0, seed=seed)
        for i, seed in enumerate((1, 1, 2))
    ]
    assert torch.equal(torch.rand(1), expected)
    one, same, other = (adapter.named_weights() for adapter in adapters)
    halves = {half: [k for k in one if f".{half}." in k] for half in ("lora_A", "lora_B")}
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not any(torch.equal(one[k], other[k]) for k in halves["lora_A"])
    assert all(one[k].abs().max() == 0 for k in halves["lora_B"])
    a = torch.cat([one[k].flatten() for k in halves["lora_A"]])
    assert abs(a.std().item() * 8 - 1) < 0.02
    for adapter in adapters:
        adapter.remove()


def test_adapter_weights_are_float32_on_a_bfloat16_backbone() -> None:
    generator = build_generator("tiny_sana")
    generator.pipeline.to(dtype=torch.bfloat16)
    network = NoiseNetwork(generator, rank=4, alpha=8.0)
    stir(network.adapter, scale=0.05)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    images, delta, _ = network.draw(noise_for(generator, 2), encode(generator))
    assert delta is not None
    assert delta.dtype == torch.float32
    images.float().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_saved_network_loads_with_its_rank_and_alpha(
    network: NoiseNetwork, tmp_path: Path
) -> None:
    generator = network.generator
    stir(network.adapter)
    noise, conditioning = noise_for(generator, 2), encode(generator)
    network.save(tmp_path)
    loaded = NoiseNetwork.trained(generator, tmp_path)
    with torch.no_grad():
        expected = network.delta(noise, conditioning)
        assert torch.equal(loaded.delta(noise, conditioning), expected)  # type: ignore[union-attr]
    assert loaded.adapter.name != network.adapter.name
    loaded.adapter.remove()


def test_saving_twice_gives_the_same_files(tiny_sd: Generator, tmp_path: Path) -> None:
    network = NoiseNetwork(tiny_sd, rank=2, alpha=2.0)
    for name in ("one", "two"):
        network.save(tmp_path / name)
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    network.adapter.remove()


def test_peft_itself_loads_a_saved_adapter(tuner: FineTuner, tmp_path: Path) -> None:
    generator = tuner.generator
    stir(tuner.adapter)
    noise, conditioning = noise_for(generator, 2), encode(generator)
    tuner.save(tmp_path)
    with torch.no_grad():
        with tuner.active():
            expected = generator.predict(noise, conditioning)
        tuner.adapter.remove()
        plain = copy.deepcopy(generator.backbone)
        peft_model = PeftModel.from_pretrained(plain, str(tmp_path))
        peft_weights = sum(p.numel() for n, p in peft_model.named_parameters() if "lora_" in n)
        handle = generator.backbone.register_forward_hook(
            lambda _m, args, kwargs, _out: peft_model(*args, **kwargs), with_kwargs=True
        )
        found = generator.predict(noise, conditioning)
        handle.remove()
    # A copy lies elsewhere in memory, and some CPUs' matrix products then round differently.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)
    reattached = FineTuner(generator, rank=4, alpha=8.0)
    assert peft_weights == reattached.n_parameters
    # The fixture takes the adapter out at the end.
    tuner.adapter = reattached.adapter


def test_loading_names_what_is_wrong(
    tiny_sd: Generator, tiny_sana: Generator, tmp_path: Path
) -> None:
    network = NoiseNetwork(tiny_sd, rank=2, alpha=2.0)
    network.save(tmp_path)
    other_rank = FineTuner(tiny_sd, rank=4, alpha=2.0)
    with pytest.raises(ValueError, match=r"rank 2 .*rank 4"):
        other_rank.load(tmp_path)
    with pytest.raises(ValueError, match="another backbone"):
        NoiseNetwork.trained(tiny_sana, tmp_path)
    assert not lora_layers(tiny_sana.backbone)
    with pytest.raises(ValueError, match=r"'hypernoize'.*did you mean 'hypernoise'"):
        kind_of("hypernoize")
    weights = tmp_path / WEIGHTS_FILE
    options = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps(options | {"r": 10**9}))
    with pytest.raises(ValueError, match=r"r is 1000000000, and its weights have rank \[2\]"):
        NoiseNetwork.trained(tiny_sd, tmp_path)
    (tmp_path / CONFIG_FILE).write_text(json.dumps(options))
    whole = load_file(weights)
    save_file({name: weight * float("nan") for name, weight in whole.items()}, weights)
    with pytest.raises(ValueError, match="numbers that are not finite"):
        network.load(tmp_path)
    save_file({name: weight.int() for name, weight in whole.items()}, weights)
    with pytest.raises(ValueError, match="must have floating point"):
        network.load(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        network.load(tmp_path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=WEIGHTS_FILE):
        network.load(tmp_path)
    (tmp_path / CONFIG_FILE).write_text("{}")
    with pytest.raises(ValueError, match="not the configuration of a LoRA"):
        network.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=CONFIG_FILE):
        network.load(tmp_path / "nowhere")
    other_rank.adapter.remove()
    network.adapter.remove()


@pytest.mark.parametrize(("rank", "alpha"), [(0, 1.0), (2, 0.0)])
def test_impossible_ranks_and_alphas_are_refused(
    tiny_sd: Generator, rank: int, alpha: float
) -> None:
    with pytest.raises(ValueError, match="rank >= 1 and alpha > 0"):
        NoiseNetwork(tiny_sd, rank=rank, alpha=alpha)
    assert not lora_layers(tiny_sd.backbone)


def test_a_taken_name_is_refused_and_a_free_one_found(tiny_sd: Generator) -> None:
    first = NoiseNetwork(tiny_sd, rank=2, alpha=2.0)
    with pytest.raises(ValueError, match="already has an adapter named 'hypernoise'"):
        NoiseNetwork(tiny_sd, rank=2, alpha=2.0, name="hypernoise")
    second = NoiseNetwork(tiny_sd, rank=2, alpha=2.0)
    assert (first.adapter.name, second.adapter.name) == ("hypernoise", "hypernoise_2")
    second.adapter.remove()
    first.adapter.remove()


class _OtherLastLayer:
    """A generator whose last layer is a norm, which has no LoRA."""

    last_layer = "norm"

    def __init__(self) -> None:
        self.backbone = nn.Sequential()
        self.backbone.add_module("linear", nn.Linear(2, 2))
        self.backbone.add_module("norm", nn.LayerNorm(2))


def test_a_last_layer_without_lora_is_refused() -> None:
    generator: Any = _OtherLastLayer()
    with pytest.raises(ValueError, match="'norm' is neither a Linear nor an ungrouped Conv2d"):
        NoiseNetwork(generator, rank=1, alpha=1.0)
    assert not lora_layers(generator.backbone)
