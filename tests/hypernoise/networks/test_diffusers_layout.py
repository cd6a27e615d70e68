"""A fine-tuning in diffusers' layout does in a pipeline what it does in a run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from published import published, small_generator
from scripts import stock_images
from toys import build_generator, noise_for, stir

from hypernoise.models.protocol import Generator
from hypernoise.networks.diffusers_layout import DIFFUSERS_FILE, write_for_diffusers
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.shapeworld.architectures import BUILDERS

SPECS: dict[str, Any] = {spec.target: spec for spec in published()}
#: diffusers loads no LoRA into its pipeline.
WITHOUT = "hypernoise.models.pixart:PixartDmd"
NAMES = [*sorted(BUILDERS), *(name for name in SPECS if name != WITHOUT)]


@cache
def built(name: str) -> Generator:
    return small_generator(SPECS[name]) if name in SPECS else build_generator(name)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.rpartition(":")[2])
def test_the_pipeline_draws_with_it_what_the_tuner_draws(name: str, tmp_path: Path) -> None:
    generator = built(name)
    pipeline: Any = generator.pipeline
    noise = noise_for(generator, 2)
    bare = stock_images(generator, latents=noise)
    tuner = FineTuner(generator, rank=4, alpha=8.0)
    stir(tuner.adapter, scale=0.05)
    tuner.save(tmp_path)
    with tuner.active():
        expected = stock_images(generator, latents=noise)
    tuner.adapter.remove()
    assert write_for_diffusers(tmp_path, type(pipeline).__name__)
    pipeline.load_lora_weights(str(tmp_path))
    found = stock_images(generator, latents=noise)
    pipeline.unload_lora_weights()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (found - bare).abs().max() > 1e-3
    assert torch.equal(stock_images(generator, latents=noise), bare)


def test_pipelines_without_a_loader_of_lora_get_no_such_file(tmp_path: Path) -> None:
    tuner = FineTuner(built(WITHOUT), rank=2, alpha=2.0)
    tuner.save(tmp_path)
    tuner.adapter.remove()
    assert not write_for_diffusers(tmp_path, "PixArtAlphaPipeline")
    assert not write_for_diffusers(tmp_path, "SomebodysPipeline")
    assert not (tmp_path / DIFFUSERS_FILE).exists()
