from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from toys import build_generator, encode, noise_for, stir

from hypernoise.errors import checked
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.audit_options import AuditOptions
from hypernoise.networks.kl_audit import (
    Displacement,
    Linearized,
    audit,
    dropped_bound,
    jacobian,
)
from hypernoise.networks.noise_network import NoiseNetwork

SHAPE = (3, 4, 2)
D = math.prod(SHAPE)
STOCHASTIC = AuditOptions(exact_up_to=0, probes=64, lanczos_steps=D, power_iterations=200)


def matrix(scale: float = 0.1, seed: int = 0) -> Tensor:
    return scale * torch.randn(D, D, generator=torch.Generator().manual_seed(seed))


def linear(weight: Tensor, shift: float = 0.3) -> Displacement:
    """f(x) = W x + shift, whose Jacobian is W everywhere."""
    return lambda noise: (noise.flatten(1) @ weight.T.to(noise) + shift).view_as(noise)


def noise(seed: int = 1) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batch_size", [5, 64])
def test_an_exact_audit_of_a_linear_map_is_its_matrix(batch_size: int) -> None:
    weight, x = matrix(), noise()
    found = audit(linear(weight), x, AuditOptions(batch_size=batch_size), seed=0)
    exact = weight.double()
    delta = exact @ x.flatten().double() + 0.3
    log_abs_det = torch.linalg.slogdet(torch.eye(D) + exact).logabsdet.item()
    assert found.exact
    assert found.sign == 1
    assert found.n_dimensions == D
    assert found.half_squared_norm == pytest.approx(0.5 * delta.square().sum().item(), rel=1e-5)
    assert found.inner_product == pytest.approx(torch.dot(x.flatten().double(), delta).item(), 1e-5)
    assert found.trace == pytest.approx(exact.trace().item(), rel=1e-5)
    assert found.log_abs_det == pytest.approx(log_abs_det, rel=1e-5)
    assert found.dropped == pytest.approx(exact.trace().item() - log_abs_det, rel=1e-5)
    assert found.largest_singular_value == pytest.approx(
        torch.linalg.matrix_norm(exact, 2).item(), rel=1e-5
    )
    assert found.smallest_singular_value == pytest.approx(
        torch.linalg.svdvals(torch.eye(D) + exact)[-1].item(), rel=1e-5
    )
    assert (found.trace_se, found.log_abs_det_se, found.dropped_se) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_estimates_are_within_their_standard_errors(seed: int) -> None:
    f, x = linear(matrix()), noise()
    exact = audit(f, x, AuditOptions(), seed)
    found = audit(f, x, STOCHASTIC, seed)
    assert not found.exact
    assert found.sign is None
    for name in ("trace", "log_abs_det", "dropped"):
        error, allowed = getattr(found, name) - getattr(exact, name), getattr(found, f"{name}_se")
        assert allowed > 0
        assert abs(error) < 3.5 * allowed, name
    assert found.dropped_se < 0.5 * found.trace_se  # the same probes: most of the noise cancels
    assert found.largest_singular_value == pytest.approx(exact.largest_singular_value, rel=1e-3)
    assert found.smallest_singular_value == pytest.approx(exact.smallest_singular_value, rel=1e-3)


def test_estimates_of_a_diagonal_map_have_no_error() -> None:
    # With entries of +1 and -1, v^T D v is the trace for every probe.
    diagonal = torch.linspace(-0.5, 0.7, D)
    found = audit(linear(diagonal.diag()), noise(), STOCHASTIC, seed=0)
    assert found.trace == pytest.approx(diagonal.sum().item(), rel=1e-5)
    assert found.trace_se == pytest.approx(0, abs=1e-5)
    assert found.log_abs_det == pytest.approx(diagonal.log1p().sum().item(), rel=1e-4)
    assert found.largest_singular_value == pytest.approx(0.7, rel=1e-3)


def test_estimates_follow_from_the_seed() -> None:
    f, x = linear(matrix()), noise()
    first, again, other = (audit(f, x, STOCHASTIC, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.trace != other.trace


def test_a_map_that_turns_space_over_is_reported() -> None:
    diagonal = torch.full((D,), 0.1)
    diagonal[0] = -3.0
    found = audit(linear(diagonal.diag()), noise(), AuditOptions(), seed=0)
    assert found.sign == -1
    assert found.log_abs_det == pytest.approx(math.log(2) + (D - 1) * math.log(1.1), rel=1e-5)
    assert found.largest_singular_value == pytest.approx(3)
    assert found.bound is None


def test_a_singular_map_is_reported_and_costs_infinitely_much() -> None:
    diagonal = torch.zeros(D)
    diagonal[0] = -1.0
    found = audit(linear(diagonal.diag()), noise(), AuditOptions(), seed=0)
    assert found.sign == 0
    assert found.smallest_singular_value == 0
    assert found.kl == math.inf
    estimated = audit(linear(diagonal.diag()), noise(), STOCHASTIC, seed=0)
    assert estimated.smallest_singular_value == pytest.approx(0, abs=1e-3)


def test_the_kl_of_an_affine_map_is_that_of_two_gaussians() -> None:
    # With noises of mean zero and covariance one, the mean over them is the expectation.
    weight, shift = matrix(), 0.3
    noises = math.sqrt(D) * torch.cat([torch.eye(D), -torch.eye(D)]).view(-1, *SHAPE)
    kls = [audit(linear(weight, shift), x, AuditOptions(), seed=0).kl for x in noises]
    total = torch.eye(D) + weight.double()
    log_abs_det = torch.linalg.slogdet(total).logabsdet
    exact = 0.5 * (total.square().sum() + D * shift**2 - D) - log_abs_det
    assert sum(kls) / len(kls) == pytest.approx(exact.item(), rel=1e-5)


def test_the_theorems_bound_is_reached_where_every_direction_shrinks_alike() -> None:
    found = audit(linear(-0.4 * torch.eye(D)), noise(), AuditOptions(), seed=0)
    assert found.bound is not None
    assert found.dropped == pytest.approx(found.bound, rel=1e-5)
    assert dropped_bound(7, 0.0) == 0
    assert dropped_bound(7, 1.0) is None


def displacement(network: NoiseNetwork, conditioning: Conditioning) -> Displacement:
    return lambda noises: network.delta(noises, conditioning.rows([0] * len(noises)))


def small_noise() -> Tensor:
    """A noise smaller than the UNet's own, to be quick: it takes any."""
    return torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(5))


def test_products_with_the_jacobian_of_every_family_agree(network: NoiseNetwork) -> None:
    stir(network.adapter, scale=0.1)
    f = displacement(network, encode(network.generator, 1))
    x = noise_for(network.generator, 1)[0]
    v, w = (torch.randn(1, x.numel(), generator=torch.Generator().manual_seed(n)) for n in (2, 3))
    with sdpa_kernel(SDPBackend.MATH):
        local = Linearized(f, x, 1)
        pushed, pulled = local.push(v), local.pull(w)
        step = 1e-2 * v.view_as(x)
        difference = (f((x + step)[None]) - f((x - step)[None])).flatten(1) / 2e-2
    assert pushed.norm() > 0.01 * v.norm()
    assert (pushed * w).sum().item() == pytest.approx((pulled * v).sum().item(), rel=1e-3)
    # What a float32 difference leaves, and the curvature over its step.
    assert (pushed - difference).norm() < 0.02 * pushed.norm()


def test_a_network_is_audited_alike_with_and_without_its_jacobian(tiny_sd: Generator) -> None:
    network = NoiseNetwork(tiny_sd, rank=4, alpha=8.0)
    stir(network.adapter, scale=0.1)
    f, x = displacement(network, encode(tiny_sd, 1)), small_noise()
    exact = audit(f, x, AuditOptions(), seed=0)
    options = AuditOptions(exact_up_to=0, probes=8, lanczos_steps=8, tolerance=1e-3)
    found = audit(f, x, options, seed=0)
    network.adapter.remove()
    assert exact.exact
    assert exact.largest_singular_value > 0.01
    for name in ("trace", "log_abs_det", "dropped"):
        error = getattr(found, name) - getattr(exact, name)
        assert abs(error) < 3.5 * getattr(found, f"{name}_se"), name
    assert found.largest_singular_value == pytest.approx(exact.largest_singular_value, rel=0.01)
    assert found.half_squared_norm == exact.half_squared_norm


def test_the_jacobian_of_a_float64_network_is_that_of_finite_differences() -> None:
    generator = build_generator("tiny_sd")
    network = NoiseNetwork(generator, rank=4, alpha=8.0)
    stir(network.adapter, scale=0.1)
    generator.backbone.double()
    encoded = encode(generator, 1)
    tensors = {name: tensor.double() for name, tensor in encoded.tensors.items()}
    f, x = displacement(network, replace(encoded, tensors=tensors)), small_noise().double()
    step = torch.zeros_like(x)
    step[1, 2, 3] = 1e-5
    with torch.no_grad():
        difference = (f((x + step)[None]) - f((x - step)[None])).flatten() / 2e-5
    assert difference.dtype == torch.float64
    column = jacobian(f, x).view(-1, *x.shape)[:, 1, 2, 3]
    torch.testing.assert_close(column, difference, rtol=1e-5, atol=1e-8)


def test_a_displacement_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="the displacement is not finite"):
        audit(lambda noises: noises / 0, noise(), AuditOptions(), seed=0)


@pytest.mark.parametrize(
    ("name", "least"), [("probes", 2), ("lanczos_steps", 1), ("batch_size", 1)]
)
def test_options_are_checked(name: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"{name!r} must be .* or equal to {least}, got 0"):
        checked(AuditOptions, {name: 0}, "audit option")
