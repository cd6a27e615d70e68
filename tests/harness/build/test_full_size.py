"""Published architectures at full size, with random weights: gigabytes and minutes.

Left out unless asked for: ``make full-size``, or ``-k NAME`` for one of them. What does not fit the
device is skipped, and says so. What each stage took is printed as a row of ``docs/memory.md``:
seconds of the clock and of the processor, and the most main memory that the process had (Linux).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published import registered
from toys import noise_for

from harness.build.devices import default_device
from harness.build.encodings import prepare
from harness.build.generators import build_generator, check_generator
from harness.experiment.components import ModelSpec
from harness.timing.contenders import n_parameters
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.protocol import Request
from hypernoise.models import random_weights
from hypernoise.models.protocol import Generator
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.rewards.redness import Redness
from hypernoise.training.loop import Training, train
from hypernoise.training.options import NoiseNetworkOptions

PROMPT = "a photo of a red bench and a blue cow"
TWINS = {name: spec for name, spec in registered().models.items() if spec.is_random}
#: Decoded tile by tile: a whole image's decoding does not fit beside this backbone in 13 GiB.
TILED = {"sana_sprint_1_6b_random"}
#: As in workflows/config/paper.yaml, but one image and one step.
OPTIONS = NoiseNetworkOptions(
    steps=1,
    batch_size=1,
    optimizer="sgd",
    rank=128,
    alpha=256,
    l2_reduction="mean",
    precision="bf16",
    gradient_checkpointing=True,
)


@contextmanager
def stage(spec: ModelSpec, what: str) -> Iterator[None]:
    """Measure what is inside, and print it."""
    # Linux forgets the largest resident size so far.
    Path("/proc/self/clear_refs").write_text("5")
    clock, processor = time.monotonic(), time.process_time()
    yield
    seconds = f"{time.monotonic() - clock:.0f} | {time.process_time() - processor:.0f}"
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak_gib = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 2**20
    print(f"\n| {spec.name} | {spec.size_px} | {what} | {seconds} | {peak_gib:.1f} |", flush=True)


def check_images(images: torch.Tensor, spec: ModelSpec) -> None:
    assert images.shape == (1, 3, spec.size_px, spec.size_px)
    assert torch.isfinite(images).all()
    assert images.std() > 0


def trained(generator: Generator, folder: Path) -> NoiseNetwork:
    """A noise network after one step on redness."""
    network = NoiseNetwork(generator, OPTIONS.rank, OPTIONS.alpha)
    train(Training(network, Redness(), [("0", PROMPT)], OPTIONS, folder))
    return network


@pytest.mark.full_size
@pytest.mark.parametrize("name", TWINS)
def test_a_published_architecture_draws_and_trains_at_full_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, device = TWINS[name], default_device()
    if name in TILED:
        spec = replace(spec, arguments={**spec.arguments, "vae_savings": ["tiling"]})
    monkeypatch.chdir(tmp_path)
    try:
        check_generator(spec)
    except ValueError as error:
        pytest.skip(str(error))
    with stage(spec, "build, encode a prompt"):
        generator = build_generator(spec, device)
        count = n_parameters(generator)
        prepare(generator, [PROMPT])
    assert count == sum(random_weights.n_parameters(spec.architecture).values())
    conditioning, noise = generator.encode([PROMPT]), noise_for(generator, 1).to(device)
    with stage(spec, "draw"), torch.no_grad():
        images = generator.sample(noise, conditioning, 1, [0])
    check_images(images, spec)
    with stage(spec, "train one step"):
        network = trained(generator, tmp_path / "training")
    with stage(spec, "HyperNoise"):
        made = HyperNoise(network).run(Request(generator, conditioning, noise, [0]))
    check_images(made.images, spec)
    assert torch.isfinite(made.noise).all()
    assert not torch.equal(made.noise, noise)
