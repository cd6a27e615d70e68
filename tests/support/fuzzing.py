"""What fuzzed tests draw, and how often: ``HYPERNOISE_FUZZ`` times each (`make fuzz`: 10,000)."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: 0 for as few as each test names.
EXAMPLES = int(os.environ.get("HYPERNOISE_FUZZ", "0"))

#: What JSON, YAML and Python files can put into a place that is meant for something else.
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.just(10**400),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["\ud800", "os:system", "/etc/passwd", "../..", "random", "é", "{0}", ""]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def examples(few: int) -> settings:
    """Settings of a fuzzed test: ``few`` examples in the suite, always the same ones."""
    return settings(
        max_examples=EXAMPLES or few,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None if not EXAMPLES else 8000,
        suppress_health_check=list(HealthCheck),
    )
