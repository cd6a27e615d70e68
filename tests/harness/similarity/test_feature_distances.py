"""Distances of sets of images, against torch-fidelity and clip-mmd and against closed forms."""

from __future__ import annotations

import json

import numpy as np
import pytest
from parity.record_distances import CASES, FIXTURE, features

from harness.similarity.feature_distances import DISTANCES, frechet_distance, jackknife, kid

EXPECTED = json.loads(FIXTURE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("case", CASES)
def test_every_distance_is_the_originals_on_the_same_features(case: str, metric: str) -> None:
    found = DISTANCES[metric](*features(case))
    # The original sums square roots of the eigenvalues of a d x d matrix, which are 0 but for
    # rounding where there are fewer images than dimensions; clip-mmd's numbers are differences of
    # means near 1, times 1000.
    assert found == pytest.approx(EXPECTED[case][metric], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("metric", DISTANCES)
def test_a_set_is_at_no_distance_from_itself_and_does_not_depend_on_the_order(metric: str) -> None:
    images, reference = features("more_images_than_dimensions")
    own = DISTANCES[metric](images, images)
    if metric in ("precision", "recall"):
        assert own == 1.0
    elif metric == "kid":
        # Unbiased, hence below 0 here: an image and itself count as two images of the other set.
        assert own < 0
    else:
        assert own == pytest.approx(0, abs=1e-9)
    turned = DISTANCES[metric](images[::-1], reference[::-1])
    assert turned == pytest.approx(DISTANCES[metric](images, reference), abs=1e-9)


def test_few_images_make_a_frechet_distance_too_large_and_a_kernel_distance_only_unsure() -> None:
    rng = np.random.default_rng(0)
    draws = [rng.normal(size=(2, n, 16)) for n in [20] * 40 + [200] * 10]
    means = [
        [np.mean([distance(*both) for both in of]) for of in (draws[:40], draws[40:])]
        for distance in (frechet_distance, kid)
    ]
    # Both sets are of one distribution: the true distance is 0.
    assert means[0][0] > 3 * means[0][1] > 0.5
    assert np.abs(means[1]).max() < 0.1


def test_the_standard_error_is_the_spread_over_draws_and_counts_a_prompt_once() -> None:
    rng = np.random.default_rng(1)
    prompts = [str(n) for n in range(30) for _ in range(4)]

    def draw() -> np.ndarray:
        # The four images of a prompt are nearly one image.
        drawn = np.repeat(rng.normal(size=(30, 4)), 4, axis=0)
        return np.asarray(drawn + 0.05 * rng.normal(size=drawn.shape))

    def mean_difference(one: np.ndarray, two: np.ndarray) -> float:
        return float((one.mean(0) - two.mean(0))[0])

    reference = draw()
    made = [jackknife(mean_difference, draw(), reference, prompts, None) for _ in range(60)]
    spread = np.std([value for value, _, _ in made])
    assert np.mean([se for _, se, _ in made]) == pytest.approx(spread, rel=0.25)
    assert made[0][2] == 20


def test_a_prompt_is_left_out_on_both_sides_and_two_prompts_give_no_error() -> None:
    images, reference = features("more_images_than_dimensions")
    prompts = [str(n % 3) for n in range(60)]
    sizes = []

    def distance(one: np.ndarray, two: np.ndarray) -> float:
        sizes.append((len(one), len(two)))
        return frechet_distance(one, two)

    jackknife(distance, images, reference, prompts, prompts)
    assert sizes == [(60, 60), (40, 40), (40, 40), (40, 40)]
    value, error, n_groups = jackknife(
        kid, images, reference, [str(n % 2) for n in range(60)], None
    )
    assert (value, n_groups) == (kid(images, reference), 2)
    assert np.isnan(error)


@pytest.mark.parametrize(
    ("images", "reference", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), r"\[3, 2\] and \[3, 4\]"),
        (np.zeros((1, 2)), np.zeros((3, 2)), "1 images and 3 reference images: at least 2"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "not finite"),
    ],
)
def test_features_that_make_no_distance_are_refused(
    images: np.ndarray, reference: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(images, reference)


def test_vectors_without_a_length_have_no_cmmd() -> None:
    with pytest.raises(ValueError, match="length 0"):
        DISTANCES["cmmd"](np.zeros((3, 2)), np.ones((3, 2)))
