"""Record what torch-fidelity and clip-mmd make of the same features.

    pip install --no-deps --target FOLDER torch-fidelity==0.4.0 clip-mmd==0.0.2
    PYTHONPATH=.:tests/support:FOLDER python -m parity.record_distances

Into a folder of its own: torch-fidelity's wheel brings a package ``tests`` that would lie in front
of this project's.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

CASES = {"more_images_than_dimensions": (60, 8), "fewer_images_than_dimensions": (24, 64)}
FIXTURE = Path(__file__).parent / "fixtures" / "feature_distances.json"


def features(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and reference [n, d] of a case, drawn from different distributions."""
    n, d = CASES[case]
    rng = np.random.default_rng(n)
    reference = rng.normal(size=(n, d)) @ np.diag(np.linspace(0.5, 1.5, d))
    return rng.normal(size=(n, d)) * 0.8 + 0.3, reference


def main() -> None:
    """Write the fixture."""
    import hypernoise  # noqa: F401, I001  mends torchvision beside a CPU torch
    import torch
    from clip_mmd.calculation import mmd
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    found = {}
    for case in CASES:
        images, reference = map(torch.from_numpy, features(case))
        statistics = map(fid_features_to_statistics, (images, reference))
        fid = fid_statistics_to_metric(*statistics, verbose=False)
        whole = {"kid_subsets": 1, "kid_subset_size": len(images), "verbose": False}
        shares = prc_features_to_metric(images, reference, verbose=False)
        units = [given / given.norm(dim=1, keepdim=True) for given in (images, reference)]
        found[case] = {
            "frechet": fid["frechet_inception_distance"],
            "kid": kid_features_to_metric(images, reference, **whole)[
                "kernel_inception_distance_mean"
            ],
            "cmmd": float(mmd(*units)),
            "precision": shares["precision"],
            "recall": shares["recall"],
        }
    FIXTURE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
