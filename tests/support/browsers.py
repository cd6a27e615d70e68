"""A Chromium for tests that look at pages; they are skipped, and say so, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: How long a page may take over anything: half a minute is too short for a machine with more to do.
PATIENCE_MS = 180_000


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's, any on the PATH, or that of ``python -m playwright install chromium``."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        own = driver.chromium.executable_path
        found = next(filter(None, map(shutil.which, NAMES)), own if Path(own).is_file() else None)
        if found is None:
            pytest.skip("no Chromium on the PATH; `make browser` gets one")
        # Its sandbox does not work for root, as whom containers run.
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = driver.chromium.launch(executable_path=found, args=flags)
        yield launched
        launched.close()


def open_page(browser: Any, **options: Any) -> Any:
    """A page of ``browser``, with Playwright's ``options``, that gives a busy machine its time."""
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE_MS)
    return page
