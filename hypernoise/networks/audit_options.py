"""How much work an audit of the KL takes (:mod:`hypernoise.networks.kl_audit`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hypernoise.options import Count, Natural, Options, Positive


class AuditOptions(Options):
    """Options of an audit."""

    exact_up_to: Natural = 512
    """Noise dimensions up to which the whole Jacobian is formed."""
    probes: Annotated[int, Field(ge=2)] = 16
    """Random probes of the estimates beyond that, of trace and log-determinant, and vectors of the
    power iteration; a standard error needs two."""
    lanczos_steps: Count = 24
    """Products with the Jacobian per probe. The quadrature's own error, which no standard error
    shows, falls with them."""
    power_iterations: Count = 30
    """Largest number of power iterations for the largest singular value."""
    tolerance: Positive = 1e-4
    """Relative change of the largest singular value at which they end."""
    batch_size: Count = 64
    """Noises that go through the network together."""
