"""Published architectures at full size, with random weights: gigabytes and minutes.

Left out unless asked for: ``pytest -m full_size -s``. What does not fit the device is skipped, and
says so.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest
import torch
from published import registered
from toys import noise_for

from harness.components import build_generator, check_weights, default_device
from harness.encodings import prepare
from harness.profile import n_parameters
from hypernoise.models import random_weights

PROMPTS = ["a photo of a red bench and a blue cow"]
TWINS = {name: spec for name, spec in registered().models.items() if spec.is_random}


@pytest.mark.full_size
@pytest.mark.parametrize("name", TWINS)
def test_a_published_architecture_draws_at_full_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, device = TWINS[name], default_device()
    monkeypatch.chdir(tmp_path)
    try:
        check_weights(spec)
    except ValueError as error:
        pytest.skip(str(error))
    started = time.monotonic()
    generator = build_generator(spec, device)
    assert n_parameters(generator) == sum(random_weights.n_parameters(spec.architecture).values())
    built = time.monotonic()
    prepare(generator, PROMPTS)
    conditioning = generator.encode(PROMPTS)
    encoded = time.monotonic()
    with torch.no_grad():
        images = generator.sample(noise_for(generator, 1).to(device), conditioning, 1, [0])
    drawn = time.monotonic()
    assert images.shape == (1, 3, spec.size_px, spec.size_px)
    assert torch.isfinite(images).all()
    assert images.std() > 0
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\n{name} on {device}: built in {built - started:.1f} s, encoded in "
        f"{encoded - built:.1f} s, drew one step in {drawn - encoded:.1f} s, "
        f"at most {peak_gib:.1f} GiB of main memory"
    )
