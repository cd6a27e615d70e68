"""Checks of a diffusers pipeline, wherever it is."""

from __future__ import annotations

from typing import Any, get_type_hints

from hypernoise.weights.folders import check_folder

#: What pipelines call their backbone, a UNet or a transformer.
COMPONENTS = ("unet", "transformer")


def check_pipeline(weights: str, revision: str = "", variant: str = "") -> None:
    """Check a diffusers pipeline: of the hub if it has a revision, else in a folder.

    Raises:
        FileNotFoundError: there is no such folder, or a file in it is missing.
        ValueError: a weight file is truncated or pickled, or the hub does not give the revision.
    """
    if not revision:
        check_folder(weights)
        return
    # Lazy import: a folder is checked without the hub's client.
    from hypernoise.weights.hub import check_repository

    check_repository(weights, revision, variant)


def component_of(pipeline_class: Any) -> str:
    """Which component a stock pipeline's backbone is."""
    components = get_type_hints(pipeline_class.__init__)
    return next(name for name in COMPONENTS if name in components)
