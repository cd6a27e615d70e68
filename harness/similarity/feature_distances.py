"""How far one set of images is from another in the features of a network.

Pure functions of features [n, d], float64 inside. Which network makes the features makes the name
that the field gives a number: the Fréchet distance in Inception's is FID, in DINOv2's FD-DINOv2;
the distance of :func:`cmmd` is CMMD in CLIP's.

Sources: Heusel et al. 2017 (arXiv 1706.08500), Bińkowski et al. 2018 (1801.01401), Kynkäänniemi et
al. 2019 (1904.06991), Jayasumana et al. 2024 (2401.09603).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.floating]
_Matrix = npt.NDArray[np.float64]

#: Bandwidth of CMMD's kernel and the factor of its published numbers.
CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0
#: Neighbours within whose radius precision and recall count an image as covered.
NEIGHBOURS = 3
#: So many groups of prompts are left out in turn for a standard error, where there are as many.
GROUPS = 20


def frechet_distance(images: Features, reference: Features) -> float:
    """Fréchet distance of the two normal distributions with the sets' means and covariances.

    |mu_1 - mu_2|² + Tr(S_1 + S_2 - 2 (S_1 S_2)^½), with covariances of divisor n - 1. The last
    trace is the sum of the singular values of A Bᵀ, where AᵀA = S_1 and BᵀB = S_2: no root of a
    d x d matrix is taken, and fewer images than dimensions are no special case of the arithmetic.
    They are one of the statistics: the estimate is too large by about 1 / n, the more so the more
    dimensions there are, so sets of different n cannot be compared.

    Args:
        images: [n, d].
        reference: [m, d].

    Raises:
        ValueError: fewer than two images, features of different width or not finite.
    """
    one, two = _checked(images, reference, 2)
    means = one.mean(0), two.mean(0)
    roots = [
        (given - mean) / np.sqrt(len(given) - 1)
        for given, mean in zip((one, two), means, strict=True)
    ]
    # Of more images than dimensions, the triangular factor of as many rows as dimensions.
    small: list[_Matrix] = [
        np.asarray(np.linalg.qr(root, mode="r")) if len(root) > root.shape[1] else root
        for root in roots
    ]
    cross = float(np.linalg.svd(small[0] @ small[1].T, compute_uv=False).sum())
    traces = sum(float(np.square(root).sum()) for root in roots)
    return float(np.square(means[0] - means[1]).sum() + traces - 2 * cross)


def kid(images: Features, reference: Features) -> float:
    """Kernel distance: unbiased estimate of the squared MMD with the kernel (<x, y> / d + 1)³.

    It does not depend on n in expectation, and may be below 0 where the sets are alike. All images
    are used at once: torch-fidelity's mean over subsets estimates the same.

    Args, Raises: as :func:`frechet_distance`.
    """
    one, two = _checked(images, reference, 2)

    def kernel(x: _Matrix, y: _Matrix) -> _Matrix:
        found: _Matrix = (x @ y.T / x.shape[1] + 1) ** 3
        return found

    within = [
        (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
        for k in (kernel(one, one), kernel(two, two))
    ]
    return float(sum(within) - 2 * kernel(one, two).mean())


def cmmd(images: Features, reference: Features) -> float:
    """1000 times the biased squared MMD with the kernel exp(-|x - y|² / 200) of unit vectors.

    Features are brought to unit length first, as CMMD's are.

    Args, Raises: as :func:`frechet_distance`, and for a vector of length 0.
    """
    one, two = (_unit(given) for given in _checked(images, reference, 1))

    def mean_kernel(x: _Matrix, y: _Matrix) -> float:
        return float(np.exp(-_squared(x, y) / (2 * CMMD_SIGMA**2)).mean())

    return CMMD_SCALE * (mean_kernel(one, one) + mean_kernel(two, two) - 2 * mean_kernel(one, two))


def precision(images: Features, reference: Features) -> float:
    """Share of images within the radius of a reference image's :data:`NEIGHBOURS`-th neighbour.

    Args, Raises: as :func:`frechet_distance`; more than :data:`NEIGHBOURS` images are needed.
    """
    one, two = _checked(images, reference, NEIGHBOURS + 1)
    # The nearest of an image's neighbours is the image itself.
    radii = np.sort(_squared(two, two), axis=1)[:, NEIGHBOURS]
    return float((_squared(one, two) <= radii).any(axis=1).mean())


def recall(images: Features, reference: Features) -> float:
    """Share of reference images within the radius of an image: :func:`precision` turned round."""
    return precision(reference, images)


#: Metric -> how it is computed. Of distances lower is closer, of shares higher.
DISTANCES: Mapping[str, Callable[[Features, Features], float]] = {
    "frechet": frechet_distance,
    "kid": kid,
    "cmmd": cmmd,
    "precision": precision,
    "recall": recall,
}


def jackknife(
    distance: Callable[[Features, Features], float],
    images: Features,
    reference: Features,
    prompts: Sequence[str],
    reference_prompts: Sequence[str] | None,
) -> tuple[float, float, int]:
    """A distance, its standard error, and how many groups of prompts that is made of.

    Groups of prompts are left out in turn, on both sides where both have prompts (delete-a-group
    jackknife). A bootstrap would be wrong here: what it draws twice is its own nearest neighbour,
    and looks like two images that are exactly alike to an unbiased MMD.

    Args:
        distance: one of :data:`DISTANCES`.
        images: [n, d].
        reference: [m, d].
        prompts: of each image, or their meanings: what counts as drawn independently.
        reference_prompts: of each reference image, None where it has none; then it counts as given.

    Returns:
        The standard error is NaN where there are fewer than three prompts, or where too few images
        are left for the distance.
    """
    value = distance(images, reference)
    names = sorted(set(prompts))
    n_groups = min(len(names), GROUPS)
    if n_groups < 3:
        return value, float("nan"), n_groups
    group_of = {name: place % n_groups for place, name in enumerate(names)}
    own = np.array([group_of[prompt] for prompt in prompts])
    other = np.array([group_of.get(prompt, -1) for prompt in reference_prompts or ()])
    left = []
    for group in range(n_groups):
        kept = reference if reference_prompts is None else reference[other != group]
        if min((own != group).sum(), len(kept)) <= NEIGHBOURS:
            return value, float("nan"), n_groups
        left.append(distance(images[own != group], kept))
    return value, float(np.sqrt((n_groups - 1) * np.var(left))), n_groups


def _checked(images: Features, reference: Features, at_least: int) -> tuple[_Matrix, _Matrix]:
    if images.ndim != 2 or reference.ndim != 2 or images.shape[1] != reference.shape[1]:
        shapes = f"{list(images.shape)} and {list(reference.shape)}"
        raise ValueError(f"features must be [n, d] and [m, d], are {shapes}")
    if min(len(images), len(reference)) < at_least:
        raise ValueError(
            f"{len(images)} images and {len(reference)} reference images: at least {at_least} of "
            "each are needed"
        )
    if not (np.isfinite(images).all() and np.isfinite(reference).all()):
        raise ValueError("features are not finite")
    return images.astype(np.float64), reference.astype(np.float64)


def _squared(x: _Matrix, y: _Matrix) -> _Matrix:
    """Squared distances [n, m]; exactly 0 of an image with itself is not promised."""
    found: _Matrix = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T
    return np.maximum(found, 0.0)


def _unit(given: _Matrix) -> _Matrix:
    lengths = np.linalg.norm(given, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("a feature vector has length 0")
    found: _Matrix = given / lengths
    return found
