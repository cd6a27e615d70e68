from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_loras import LAYOUTS, save_peft, write
from safetensors.torch import load_file, save_file
from toys import build_generator, encode, noise_for, stir

from hypernoise.methods.given_adapter import GivenAdapter
from hypernoise.methods.protocol import Request
from hypernoise.models.protocol import Generator
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE

FAMILIES = ("tiny_sd", "tiny_sana", "tiny_flux")


def request(generator: Generator) -> Request:
    return Request(generator, encode(generator), noise_for(generator, 2), seeds=[0, 1])


def images(generator: Generator, folder: Path, **given: Any) -> torch.Tensor:
    method = GivenAdapter(str(folder), **given)
    method.check()
    method.attach(generator)
    return method.run(request(generator)).images


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_draws_the_same_images_in_whatever_layout_it_comes(
    family: str, tmp_path: Path
) -> None:
    generator = build_generator(family)
    tuner = save_peft(generator, tmp_path / "peft")
    asked = request(generator)
    with torch.no_grad():
        wanted = tuner.draw(asked.noise, asked.conditioning, 1, asked.seeds).images
        plain = asked.sample(asked.noise)
    tuner.adapter.remove()
    assert not torch.allclose(wanted, plain, atol=1e-2)
    assert torch.allclose(images(generator, tmp_path / "peft"), wanted, atol=1e-4)
    for layout in LAYOUTS:
        folder = write(layout, tmp_path / "peft", generator, tmp_path / layout)
        assert torch.allclose(images(generator, folder), wanted, atol=1e-4), layout
    with torch.no_grad():
        # Whoever uses the same generator after it gets the generator's own images.
        assert torch.equal(asked.sample(asked.noise), plain)
    assert not any(parameter.requires_grad for parameter in generator.backbone.parameters())


def test_attention_only_adapters_are_those_of_the_stock_pipeline(tmp_path: Path) -> None:
    generator = build_generator("tiny_sd")
    save_peft(generator, tmp_path / "peft").adapter.remove()
    folder = write("old_diffusers", tmp_path / "peft", generator, tmp_path / "attention", ".to_")
    made = images(generator, folder)
    stock = build_generator("tiny_sd")
    stock.pipeline.load_lora_weights(str(folder), weight_name="pytorch_lora_weights.safetensors")
    asked = request(stock)
    with torch.no_grad():
        assert torch.equal(made, asked.sample(asked.noise))


def test_a_scale_of_zero_is_the_generator_itself(tmp_path: Path) -> None:
    generator = build_generator("tiny_sana")
    save_peft(generator, tmp_path).adapter.remove()
    asked = request(generator)
    with torch.no_grad():
        plain = asked.sample(asked.noise)
    assert torch.equal(images(generator, tmp_path, scale=0.0), plain)
    assert not torch.equal(images(generator, tmp_path, scale=0.5), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_given_noise_network_moves_noise_as_the_trained_one(family: str, tmp_path: Path) -> None:
    generator = build_generator(family)
    network = NoiseNetwork(generator, rank=2, alpha=4.0)
    stir(network.adapter, 0.05)
    network.save(tmp_path)
    asked = request(generator)
    with torch.no_grad():
        wanted = network.draw(asked.noise, asked.conditioning, 1, asked.seeds).images
    network.adapter.remove()
    method = GivenAdapter(str(tmp_path), moves_noise=True)
    made = method.run(asked)
    assert torch.allclose(made.images, wanted, atol=1e-4)
    assert made.spent.nfe == 2


def test_a_noise_network_without_its_last_layer_is_refused(tmp_path: Path) -> None:
    generator = build_generator("tiny_sd")
    save_peft(generator, tmp_path / "peft").adapter.remove()
    folder = write("diffusers", tmp_path / "peft", generator, tmp_path / "attention", ".to_")
    with pytest.raises(ValueError, match="last layer 'conv_out'"):
        GivenAdapter(str(folder), moves_noise=True).attach(generator)
    assert not hasattr(generator.backbone, "peft_config")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("peft_type", "LOHA"),
        ("bias", "lora_only"),
        ("init_lora_weights", "pissa"),
        ("fan_in_fan_out", True),
        ("layers_to_transform", [0]),
        ("modules_to_save", ["conv_out"]),
        ("use_qalora", True),
        ("an_option_of_tomorrow", 3),
    ],
)
def test_an_option_that_is_not_known_is_refused_by_its_name(
    tmp_path: Path, option: str, value: Any
) -> None:
    generator = build_generator("tiny_sd")
    save_peft(generator, tmp_path).adapter.remove()
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config | {option: value}))
    with pytest.raises(ValueError, match=f"{CONFIG_FILE} has {option} "):
        GivenAdapter(str(tmp_path)).attach(generator)
    with pytest.raises(ValueError, match=f"{CONFIG_FILE} has {option} "):
        NoiseNetwork.trained(generator, tmp_path)


def test_options_that_change_what_the_weights_do_are_applied(tmp_path: Path) -> None:
    generator = build_generator("tiny_sana")
    save_peft(generator, tmp_path).adapter.remove()
    plain = images(generator, tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    # With rslora alpha is divided by the root of the rank.
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config | {"use_rslora": True}), "utf-8-sig")
    assert torch.allclose(
        images(generator, tmp_path), images_scaled(generator, tmp_path, config, 2.0), atol=1e-4
    )
    assert not torch.allclose(images(generator, tmp_path), plain, atol=1e-3)


def images_scaled(
    generator: Generator, folder: Path, config: dict[str, Any], scale: float
) -> torch.Tensor:
    """Images with the folder's weights and other options, times a scale."""
    other = folder / "scaled"
    other.mkdir()
    (other / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes())
    (other / CONFIG_FILE).write_text(json.dumps(config))
    return images(generator, other, scale=scale)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("text_encoder.layers.0.q_proj.lora_A.weight", "also adapts a text encoder"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "adapts a text encoder"),
        ("unet.conv_in.hada_w1_a", "LoHa"),
        ("lora_unet_conv_in.lokr_w1", "LoKr"),
        ("lora_unet_conv_in.dora_scale", "DoRA in kohya's layout"),
        ("unet.conv_in.diff", "differences of weights"),
        ("transformer.conv_in.lora_A.weight", "for a transformer, and this model has a unet"),
        ("unet.no_such_layer.lora_A.weight", "lacks 1 of its .* the first is no_such_layer"),
        ("unet.conv_in.lora_C.weight", "is not the name of a LoRA weight"),
    ],
)
def test_what_cannot_be_applied_whole_is_refused_with_its_reason(
    tmp_path: Path, key: str, message: str
) -> None:
    generator = build_generator("tiny_sd")
    save_peft(generator, tmp_path / "peft").adapter.remove()
    folder = write("diffusers", tmp_path / "peft", generator, tmp_path / "spoilt", ".to_")
    (file,) = folder.iterdir()
    save_file({**load_file(file), key: torch.zeros(4, 4)}, file)
    with pytest.raises(ValueError, match=message):
        GivenAdapter(str(folder)).attach(generator)
    assert not hasattr(generator.backbone, "peft_config")


def test_names_that_torch_compile_wrote_are_read(tmp_path: Path) -> None:
    generator = build_generator("tiny_sd")
    save_peft(generator, tmp_path).adapter.remove()
    wanted = images(generator, tmp_path)
    file = tmp_path / WEIGHTS_FILE
    named = {
        k.replace("model.model.", "model.model._orig_mod."): w for k, w in load_file(file).items()
    }
    save_file(named, file)
    assert torch.equal(images(generator, tmp_path), wanted)


def test_pickles_several_files_and_empty_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no safetensors file"):
        GivenAdapter(str(tmp_path)).check()
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pickled weights only \(adapter_model.bin\)"):
        GivenAdapter(str(tmp_path)).check()
    for name in ("one", "two"):
        save_file({"x": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"several adapters.*one\.safetensors, two\.safetensors"):
        GivenAdapter(str(tmp_path)).check()
    GivenAdapter(str(tmp_path), file="two.safetensors").check()
    with pytest.raises(FileNotFoundError, match="no folder or file"):
        GivenAdapter(str(tmp_path / "nowhere")).check()
    with pytest.raises(ValueError, match="must be the name of a file"):
        GivenAdapter(str(tmp_path), file="../one.safetensors")
