from __future__ import annotations

from collections.abc import Container, Mapping

import pytest
import torch
from method_runs import BATCH_TOLERANCE, run, run_one_by_one, sampled
from torch import Tensor
from toys import ToyReward, encode, noise_for, stir

from hypernoise.methods.base import Base
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.lora_finetune import LoraFinetune
from hypernoise.methods.protocol import Method, Spent
from hypernoise.models.protocol import Generator
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.noise_network import NoiseNetwork


def test_base_is_the_generator(generator: Generator) -> None:
    generated = run(Base(), generator, steps=2)
    assert torch.equal(generated.images, sampled(generator, noise_for(generator, 3), steps=2))
    assert torch.equal(generated.noise, noise_for(generator, 3))
    assert generated.spent == Spent(nfe=2, reward_calls=0, backward_passes=0)
    assert generated.rewards is None


def test_untrained_hypernoise_gives_the_base_images(network: NoiseNetwork) -> None:
    generated = run(HyperNoise(network), network.generator)
    assert torch.equal(generated.images, run(Base(), network.generator).images)


def test_hypernoise_draws_from_the_moved_noise_for_one_more_pass(network: NoiseNetwork) -> None:
    generator = network.generator
    stir(network.adapter)
    generated = run(HyperNoise(network), generator, steps=2)
    assert generated.spent == Spent(nfe=3)
    with torch.no_grad():
        delta = network.delta(noise_for(generator, 3), encode(generator, 3))
    torch.testing.assert_close(generated.noise - noise_for(generator, 3), delta)
    assert delta.abs().max() > 0
    assert torch.equal(generated.images, sampled(generator, generated.noise, steps=2))
    assert not generated.images.requires_grad


@pytest.mark.parametrize("form", [True, "per_layer", "in_place"])
def test_merged_hypernoise_draws_what_the_adapter_draws(
    generator: Generator, form: bool | str
) -> None:
    network = NoiseNetwork(generator, 4, 8.0)
    stir(network.adapter, 0.05)
    expected = run(HyperNoise(network), generator, steps=2)
    before = {name: weight.clone() for name, weight in generator.backbone.named_parameters()}
    merged = HyperNoise(network, merged=form)
    generated = run(merged, generator, steps=2)
    moved = expected.noise - noise_for(generator, 3)
    assert moved.abs().max() > 0.01
    # Merging adds before it multiplies: other rounding, same numbers.
    torch.testing.assert_close(generated.noise, expected.noise, rtol=0, atol=2e-4)
    torch.testing.assert_close(generated.images, expected.images, rtol=0, atol=1e-3)
    assert_plain_again(generator, before)


def test_merged_fine_tuning_draws_what_the_adapter_draws(generator: Generator) -> None:
    tuner = FineTuner(generator, 4, 8.0)
    stir(tuner.adapter, 0.05)
    expected = run(LoraFinetune(tuner), generator, steps=2)
    plain = run(Base(), generator, steps=2)
    assert (expected.images - plain.images).abs().max() > 0.01
    before = {name: weight.clone() for name, weight in generator.backbone.named_parameters()}
    generated = run(LoraFinetune(tuner, merged=True), generator, steps=2)
    # As above: other rounding, same numbers.
    torch.testing.assert_close(generated.images, expected.images, rtol=0, atol=1e-3)
    assert torch.equal(generated.noise, expected.noise)
    assert generated.spent == expected.spent
    assert_plain_again(generator, before)


def assert_plain_again(generator: Generator, before: Mapping[str, Tensor]) -> None:
    """The backbone is the frozen one that it was before, without any LoRA in it."""
    plain = dict(generator.backbone.named_parameters())
    assert not any("lora" in name for name in plain)
    assert all(
        torch.equal(weight, before[_lora_name(name, before)]) for name, weight in plain.items()
    )
    assert torch.equal(run(Base(), generator).images, sampled(generator, noise_for(generator, 3)))


def test_an_unknown_form_of_merging_is_refused(network: NoiseNetwork) -> None:
    with pytest.raises(
        ValueError, match=r"unknown value of merged 'per_model'.*in_place.*per_layer"
    ):
        HyperNoise(network, merged="per_model")


def test_fine_tuning_is_merged_or_not(tuner: FineTuner) -> None:
    with pytest.raises(ValueError, match=r"merged must be true or false .*, got 'per_layer'"):
        LoraFinetune(tuner, merged="per_layer")  # type: ignore[arg-type]


def _lora_name(name: str, names: Container[str]) -> str:
    parent, _, own = name.rpartition(".")
    return name if name in names else f"{parent}.base_layer.{own}"


def test_fine_tuned_images_come_from_the_same_noise(tuner: FineTuner) -> None:
    generator = tuner.generator
    stir(tuner.adapter)
    generated = run(LoraFinetune(tuner), generator)
    assert torch.equal(generated.noise, noise_for(generator, 3))
    with tuner.active():
        assert torch.equal(generated.images, sampled(generator, generated.noise))
    assert not torch.equal(generated.images, sampled(generator, generated.noise))
    assert generated.spent == Spent(nfe=1)


def test_noise_network_and_fine_tuning_have_matched_parameters(generator: Generator) -> None:
    network, tuner = NoiseNetwork(generator, 3, 6.0), FineTuner(generator, 3, 6.0)
    assert network.n_parameters == tuner.n_parameters > 0
    tuner.adapter.remove()
    network.adapter.remove()


def test_adapters_of_another_generator_are_refused(
    tiny_sd: Generator, tiny_sana: Generator
) -> None:
    network, tuner = NoiseNetwork(tiny_sd, 2, 2.0), FineTuner(tiny_sd, 2, 2.0)
    methods: list[Method] = [HyperNoise(network), LoraFinetune(tuner)]
    for method in methods:
        with pytest.raises(ValueError, match="another generator"):
            run(method, tiny_sana)
    tuner.adapter.remove()
    network.adapter.remove()


def test_hypernoise_and_fine_tuning_do_not_depend_on_the_batch(generator: Generator) -> None:
    network, tuner = NoiseNetwork(generator, 2, 4.0), FineTuner(generator, 2, 4.0)
    stir(network.adapter, 0.05)
    stir(tuner.adapter, 0.05)
    methods: list[Method] = [HyperNoise(network), LoraFinetune(tuner)]
    for method in methods:
        together = run(method, generator).images
        alone = torch.cat([g.images for g in run_one_by_one(method, generator, ToyReward())])
        torch.testing.assert_close(together, alone, rtol=0, atol=BATCH_TOLERANCE)
    tuner.adapter.remove()
    network.adapter.remove()
