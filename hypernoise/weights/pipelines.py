"""Checks of a diffusers pipeline, wherever it is."""

from __future__ import annotations

from typing import Any, get_type_hints

from hypernoise.weights.folders import check_folder
from hypernoise.weights.pins import located

#: What pipelines call their backbone, a UNet or a transformer.
COMPONENTS = ("unet", "transformer")


def check_pipeline(
    weights: str, revision: str = "", variant: str = "", pipeline_class: Any = None
) -> None:
    """Check a diffusers pipeline: of the hub if it has a revision, else in a folder.

    Args:
        pipeline_class: the stock pipeline that a folder has to be of; any without.

    Raises:
        FileNotFoundError: there is no such folder, or a file in it is missing.
        ValueError: a weight file is truncated, pickled or lacks weights, the folder is another
            pipeline's, or the hub does not give the revision.
    """
    if not revision:
        folder = located(weights)
        check_folder(str(folder))
        # Lazy import: it brings the libraries whose networks the folder has.
        from hypernoise.weights.whole_pipeline import check_whole

        check_whole(folder, variant, pipeline_class)
        return
    # Lazy import: a folder is checked without the hub's client.
    from hypernoise.weights.hub import check_repository

    check_repository(weights, revision, variant)


def component_of(pipeline_class: Any) -> str:
    """Which component a stock pipeline's backbone is."""
    components = get_type_hints(pipeline_class.__init__)
    return next(name for name in COMPONENTS if name in components)
