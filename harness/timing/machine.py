"""What a timing machine was doing: clocks, drivers, load. Nothing here imports torch."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import psutil

#: nvidia-smi's names of what decides how fast a GPU is at the moment.
_GPU_FACTS = (
    "name",
    "driver_version",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "power.draw",
    "temperature.gpu",
    "utilization.gpu",
)


def state() -> dict[str, Any]:
    """The machine at this moment; what cannot be read is None or left out.

    Returns:
        ``time`` (UTC), ``load_1min`` (runnable processes), ``cpu_mhz``, ``gpus`` (one mapping per
        GPU with nvidia-smi's names and units) and, where torch is loaded, ``cuda`` and ``cudnn``.
    """
    frequency = psutil.cpu_freq()
    torch = sys.modules.get("torch")
    libraries = {}
    if torch is not None:
        libraries = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "cpu_mhz": round(frequency.current) if frequency else None,
        "gpus": _gpus(),
        **libraries,
    }


def _gpus() -> list[dict[str, str]]:
    query = ["nvidia-smi", f"--query-gpu={','.join(_GPU_FACTS)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = csv.reader(io.StringIO(done.stdout), skipinitialspace=True)
    return [dict(zip(_GPU_FACTS, row, strict=False)) for row in rows]
