"""Comparisons of images with one another: checked without being loaded, and loaded."""

from __future__ import annotations

from harness.base.errors import SpecError
from harness.build.targets import call_target, check_target
from harness.experiment.components import WEIGHT_ARGUMENTS, SimilaritySpec
from harness.similarity.protocol import ENDINGS, Comparison, FeatureNetwork
from hypernoise.weights.pinned_files import PinnedFile


def check_comparison(metric: str, spec: SimilaritySpec) -> None:
    """Check a comparison's name, target and files, without loading it.

    Raises:
        SpecError: the metric's name does not say what a higher value means, the target is no
            comparison, or it does not take an argument.
        ValueError, FileNotFoundError: as :meth:`hypernoise.weights.pinned_files.PinnedFile.check`.
    """
    if not metric.endswith(tuple(ENDINGS)):
        raise SpecError(f"metric {metric!r} of pairs must end in {' or '.join(ENDINGS)}")
    check_features(spec, ("embed", "compare"))


def check_features(spec: SimilaritySpec, does: tuple[str, ...] = ("embed",)) -> None:
    """Check a feature network's target and files, without loading it.

    Raises: as :func:`check_comparison`.
    """
    check_target(spec.target, spec.arguments, does=does)
    for name in WEIGHT_ARGUMENTS:
        if name in spec.arguments:
            PinnedFile.parse(str(spec.arguments[name])).check()


def build_comparison(spec: SimilaritySpec, device: str) -> Comparison:
    """Load a comparison of images. Raises as :func:`check_comparison`."""
    comparison: Comparison = call_target(spec.target, spec.arguments, device)
    return comparison


def build_features(spec: SimilaritySpec, device: str) -> FeatureNetwork:
    """Load a feature network. Raises as :func:`check_features`."""
    network: FeatureNetwork = call_target(spec.target, spec.arguments, device)
    return network
