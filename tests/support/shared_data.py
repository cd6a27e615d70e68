"""Published data that are not in the repository: the folder ``shared`` next to it."""

from __future__ import annotations

import pytest
from paths import REPOSITORY

SHARED = REPOSITORY.parent / "shared"


def needs(name: str) -> pytest.MarkDecorator:
    """A mark that skips a test, and says so, where a file or folder of ``SHARED`` is missing."""
    reason = f"needs shared/{name} next to the repository"
    return pytest.mark.skipif(not (SHARED / name).exists(), reason=reason)
