"""What a noise network's displacement costs, exactly: the terms that its training drops.

For x0 ~ N(0, I), a displacement f, and J its Jacobian at x0 (arXiv 2508.09968, theorem 1):

    KL(law of x0 + f(x0) || N(0, I)) = E[half |f|^2 + Tr J - log|det(I + J)|]

Training keeps the first term. Where f is L-Lipschitz with L < 1, the other two differ by at most
d (-log(1 - L) - L); at one x0 that holds for the largest singular value of J there. The formula
needs an injective x0 + f(x0). Where it is not (determinants of both signs are a proof), several x0
share a density, and the formula is a lower bound.

f is any function of a batch of noises whose rows do not depend on each other. Up to a limit of d,
J is formed and everything is exact up to rounding; beyond it, products with J and its transpose
give estimates with standard errors. Forward-mode derivatives of attention need its plain kernel,
which this module switches to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from hypernoise.networks.audit_options import AuditOptions
from hypernoise.noise import seeded_generator

#: Displacements [B, *noise_shape] of noises [B, *noise_shape], row by row.
Displacement = Callable[[Tensor], Tensor]
_TINY = 1e-30


class Audit(NamedTuple):
    """The terms at one x0, in nats; standard errors are 0 where the Jacobian was formed.

    Attributes:
        n_dimensions: d.
        exact: whether the Jacobian was formed.
        half_squared_norm: half the squared norm of f, which training penalises.
        inner_product: <x0, f>, whose expectation is that of the trace (Stein's lemma).
        trace, trace_se: Tr J.
        log_abs_det, log_abs_det_se: log|det(I + J)|; -inf where I + J is singular.
        dropped, dropped_se: Tr J - log|det(I + J)|, from the same probes: what training drops.
        sign: of det(I + J), -1 where x0 + f(x0) turns space over, 0 where I + J is singular; None
            where the Jacobian was not formed.
        largest_singular_value: of J, found from below by the power iteration.
        smallest_singular_value: of I + J, found from above by the Lanczos iteration.
    """

    n_dimensions: int
    exact: bool
    half_squared_norm: float
    inner_product: float
    trace: float
    trace_se: float
    log_abs_det: float
    log_abs_det_se: float
    dropped: float
    dropped_se: float
    sign: int | None
    largest_singular_value: float
    smallest_singular_value: float

    @property
    def kl(self) -> float:
        """The integrand of the KL."""
        return self.half_squared_norm + self.dropped

    @property
    def bound(self) -> float | None:
        """The theorem's bound on |dropped|; None where the largest singular value is 1 or more."""
        return dropped_bound(self.n_dimensions, self.largest_singular_value)


def dropped_bound(n_dimensions: int, lipschitz: float) -> float | None:
    """The most that the dropped terms can be, d (-log(1 - L) - L); None for L >= 1 (theorem 1)."""
    if lipschitz >= 1:
        return None
    return n_dimensions * (-math.log1p(-lipschitz) - lipschitz)


def audit(displacement: Displacement, noise: Tensor, options: AuditOptions, seed: int) -> Audit:
    """Measure every term at one noise.

    Args:
        displacement: f of one prompt, on the noise's device.
        noise: [*noise_shape], x0; in float64 the products are float64 too, if f keeps to it.
        options: how.
        seed: seed of the random probes.

    Raises:
        ValueError: a displacement or its Jacobian is not finite.
    """
    with sdpa_kernel(SDPBackend.MATH):
        delta = displacement(noise[None])[0].detach()
        _check_finite(delta, "the displacement")
        measure = _exact if noise.numel() <= options.exact_up_to else _estimated
        measured = measure(displacement, noise, options, seed)
    return Audit(
        noise.numel(),
        measure is _exact,
        0.5 * float(delta.double().square().sum()),
        float((noise.double() * delta.double()).sum()),
        *measured,
    )


def jacobian(displacement: Displacement, noise: Tensor, batch_size: int = 64) -> Tensor:
    """The Jacobian [d, d] of f at one noise [*noise_shape]: row i is the gradient of output i.

    One batch of copies of the noise goes through f, and is pulled back along as many unit vectors
    at a time, so f needs reverse mode only.
    """
    d = noise.numel()
    n = min(batch_size, d)
    local = Linearized(displacement, noise, n)
    # Rows beyond d are zero: they fill the last batch up.
    units = torch.eye(math.ceil(d / n) * n, d, device=noise.device, dtype=noise.dtype)
    return torch.cat([local.pull(part) for part in torch.split(units, n)])[:d]


class _Measured(NamedTuple):
    """The fields of :class:`Audit` that the Jacobian gives, in its order."""

    trace: float
    trace_se: float
    log_abs_det: float
    log_abs_det_se: float
    dropped: float
    dropped_se: float
    sign: int | None
    largest_singular_value: float
    smallest_singular_value: float


def _exact(
    displacement: Displacement, noise: Tensor, options: AuditOptions, seed: int
) -> _Measured:
    # Double: the terms nearly cancel, and the matrix is small.
    matrix = jacobian(displacement, noise, options.batch_size).double()
    _check_finite(matrix, "the Jacobian")
    total = torch.eye(len(matrix), device=matrix.device, dtype=matrix.dtype) + matrix
    sign, log_abs_det = torch.linalg.slogdet(total)
    trace = float(matrix.trace())
    return _Measured(
        trace,
        0.0,
        float(log_abs_det),
        0.0,
        trace - float(log_abs_det),
        0.0,
        int(sign),
        float(torch.linalg.matrix_norm(matrix, 2)),
        float(torch.linalg.matrix_norm(total, -2)),
    )


def _estimated(
    displacement: Displacement, noise: Tensor, options: AuditOptions, seed: int
) -> _Measured:
    d, generator = noise.numel(), seeded_generator(seed)
    # Rademacher: of all probes with independent entries those of the smallest variance.
    probes = torch.randint(0, 2, (options.probes, d), generator=generator).to(noise) * 2 - 1
    block = torch.randn(min(options.probes, d), d, generator=generator).to(noise)
    largest = _largest_singular_value(
        Linearized(displacement, noise, len(block)), _orthonormal(block), options
    )
    local = Linearized(displacement, noise, options.probes)
    traces = (probes * local.push(probes)).double().sum(1)
    log_abs_dets, smallest = _log_abs_dets(local, probes, options.lanczos_steps)
    dropped = traces - log_abs_dets
    _check_finite(dropped, "the Jacobian")
    return _Measured(
        *_mean_and_error(traces),
        *_mean_and_error(log_abs_dets),
        *_mean_and_error(dropped),
        None,
        largest,
        smallest,
    )


class Linearized:
    """Products of [n, d] rows with the Jacobian of f at one noise, and with its transpose."""

    def __init__(self, displacement: Displacement, noise: Tensor, n: int) -> None:
        self._f = displacement
        # Forward mode refuses copies that share their memory.
        self._noises = noise.repeat(n, *[1] * noise.ndim)
        self._pull: Callable[[Tensor], tuple[Tensor]] = vjp(displacement, self._noises)[1]

    def push(self, rows: Tensor) -> Tensor:
        """J v for each row v."""
        tangents = rows.view_as(self._noises).contiguous()
        moved: Tensor = jvp(self._f, (self._noises,), (tangents,))[1]
        return moved.detach().flatten(1).to(rows.dtype)

    def pull(self, rows: Tensor) -> Tensor:
        """J^T v for each row v."""
        moved: Tensor
        (moved,) = self._pull(rows.view_as(self._noises).contiguous())
        return moved.detach().flatten(1).to(rows.dtype)

    def gram(self, rows: Tensor) -> Tensor:
        """(I + J)^T (I + J) v for each row v."""
        moved = rows + self.push(rows)
        return moved + self.pull(moved)


def _largest_singular_value(local: Linearized, basis: Tensor, options: AuditOptions) -> float:
    """Power iteration with a block of vectors, which finds close singular values sooner."""
    largest = 0.0
    for _ in range(options.power_iterations):
        moved = local.push(basis)
        # The best of the whole block: a singular value of J on the space that it spans.
        found = float(torch.linalg.matrix_norm(moved.double(), 2))
        if abs(found - largest) <= options.tolerance * found:
            return found
        largest = found
        basis = _orthonormal(local.pull(moved))
    return largest


def _orthonormal(rows: Tensor) -> Tensor:
    basis: Tensor = torch.linalg.qr(rows.T).Q.T
    return basis


def _log_abs_dets(local: Linearized, probes: Tensor, steps: int) -> tuple[Tensor, float]:
    """Per probe an estimate of log|det(I + J)|, and the smallest singular value of I + J seen.

    Stochastic Lanczos quadrature on (I + J)^T (I + J), half of whose log-determinant it is (Ubaru,
    Chen and Saad, SIAM J. Matrix Anal. Appl. 38, 2017), with full reorthogonalization.

    Args:
        local: products with J.
        probes: [n, d], entries of unit variance.
        steps: Lanczos steps, d at most.

    Returns:
        [n] float64, and a number.
    """
    d = probes.shape[1]
    alphas, betas = _lanczos(local.gram, probes, min(steps, d))
    tridiagonal = torch.diag_embed(alphas)
    tridiagonal += torch.diag_embed(betas, 1) + torch.diag_embed(betas, -1)
    nodes, vectors = torch.linalg.eigh(tridiagonal)
    nodes = nodes.clamp_min(_TINY)
    weights = vectors[:, 0].square()
    estimates = 0.5 * d * (weights * nodes.log()).sum(1)
    # A node that no weight goes with stands for no part of the spectrum.
    seen = nodes.masked_fill(weights < _TINY, math.inf)
    return estimates, float(seen.min().sqrt())


def _lanczos(
    multiply: Callable[[Tensor], Tensor], start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Diagonals [n, k] and [n, k - 1] of the Lanczos matrices of n start vectors [n, d]."""
    basis = [start / torch.linalg.vector_norm(start, dim=1, keepdim=True)]
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    for step in range(steps):
        moved = multiply(basis[-1])
        alphas.append((moved * basis[-1]).sum(1))
        if step == steps - 1:
            break
        known = torch.stack(basis, 1)
        for _ in range(2):
            shares = torch.einsum("nkd,nd->nk", known, moved)
            moved = moved - torch.einsum("nk,nkd->nd", shares, known)
        length = torch.linalg.vector_norm(moved, dim=1)
        # An invariant subspace is whole: what rounding leaves of the next vector is nothing.
        alive = length > start.shape[1] * torch.finfo(start.dtype).eps * alphas[0].abs()
        betas.append(length * alive)
        basis.append(moved / length.clamp_min(_TINY)[:, None] * alive[:, None])
    empty = start.new_empty(len(start), 0)
    return (torch.stack(alphas, 1).double(), (torch.stack(betas, 1) if betas else empty).double())


def _mean_and_error(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def _check_finite(values: Tensor, what: str) -> None:
    if not torch.isfinite(values).all():
        raise ValueError(f"{what} is not finite")
