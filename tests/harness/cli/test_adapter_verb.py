"""``python -m harness adapter``: what an adapter is, and the line that declares it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from foreign_loras import save_peft, write
from paths import REPOSITORY
from safetensors.torch import save_file
from scripts import described
from torch import nn
from toys import build_generator

from harness.cli.command_line import main
from harness.experiment.components import Registry
from harness.experiment.weight_files import weights_of
from hypernoise.models.backbones import empty_backbone
from hypernoise.models.sana import SanaSprint
from hypernoise.weights.saved_lora import CONFIG_FILE

COMPONENTS = ("--components", str(REPOSITORY / "workflows"))
TARGET = "hypernoise.methods.given_adapter:GivenAdapter"
COMMIT = "0123456789" * 4


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["adapter", *arguments, *COMPONENTS]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_an_adapter_is_described_and_its_declaration_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    generator = build_generator("tiny_sd")
    save_peft(generator, tmp_path / "peft").adapter.remove()
    folder = write("kohya", tmp_path / "peft", generator, tmp_path / "kohya", "_to_")
    text = said(capsys, str(folder), "--model", "tiny_sd")
    assert "kohya's layout" in text and "rank      4; alpha 8.0" in text
    assert "fine-tuning or distillation" in text
    registry = Registry()
    exec(text.splitlines()[-1], {"add_method": registry.add_method})
    assert registry.methods["their_lora"].arguments == {"weights": str(folder)}
    # Whole, it may be a noise network as well: only who published it knows.
    assert "add moves_noise=True" in said(capsys, str(tmp_path / "peft"), "--model", "tiny_sd")
    for kind, moves_noise in (
        ("supervised", True),
        ("noise_policy", True),
        ("lora_finetune", False),
    ):
        described(generator, kind).write(tmp_path / "peft")
        text = said(capsys, str(tmp_path / "peft"), "--model", "tiny_sd")
        assert f"({kind})" in text
        assert (", moves_noise=True" in text.splitlines()[-1]) == moves_noise


def test_an_adapter_of_a_published_model_is_checked_without_the_model_s_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline_class = SanaSprint.pipeline_class
    backbone = empty_backbone(pipeline_class, "x/y", architecture="sana_sprint_0.6b")
    weights = {}
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(("to_q", "to_v")):
            weights[f"transformer.{name}.lora_A.weight"] = torch.zeros(2, module.in_features)
            weights[f"transformer.{name}.lora_B.weight"] = torch.zeros(module.out_features, 2)
    save_file(weights, tmp_path / "pytorch_lora_weights.safetensors")
    text = said(capsys, str(tmp_path), "--model", "sana_sprint_0_6b")
    assert "layers    112 of" in text and "56 to_q, 56 to_v" in text
    assert "rank      2; alpha that of rank" in text
    wrong = said(capsys, str(tmp_path), "--model", "tiny_sana", code=2)
    assert "was made for another base" in wrong


def test_options_of_its_config_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    save_peft(build_generator("tiny_sana"), tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    given = {"use_rslora": True, "base_model_name_or_path": "somebody/sana"}
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config | given))
    text = said(capsys, str(tmp_path), "--model", "tiny_sana")
    assert '{"use_rslora": true}' in text and "somebody/sana" in text
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config | {"use_bdlora": {"a": 1}}))
    refused = said(capsys, str(tmp_path), "--model", "tiny_sana", code=2)
    assert f"{CONFIG_FILE} has use_bdlora" in refused


def test_an_unknown_model_and_a_misspelt_file_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "did you mean 'tiny_sana'" in said(
        capsys, str(tmp_path), "--model", "tiny_sanna", code=2
    )
    lost = said(capsys, str(tmp_path), "--model", "tiny_sd", "--file", "x.safetensors", code=2)
    assert "x.safetensors is missing" in lost


def test_an_adapter_of_the_hub_is_declared_with_its_commit() -> None:
    registry = Registry()
    spec = registry.add_method(
        "theirs", target=TARGET, weights=f"somebody/lora@{COMMIT}", version=1
    )
    assert spec.arguments == {"weights": "somebody/lora", "revision": COMMIT}
    (file,) = weights_of(spec)
    assert (file.component, file.place, file.commit) == ("method theirs", "somebody/lora", COMMIT)
