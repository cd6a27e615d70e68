"""Images that stand side by side and are the same, as those of swapped prompts: seen once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def runs(images: NDArray[Any]) -> list[range]:
    """Ranges of neighbours among images [N, ...] that are equal in every value, in their order."""
    starts = [
        place
        for place in range(len(images))
        if place == 0 or not np.array_equal(images[place], images[place - 1])
    ]
    ends = [*starts[1:], len(images)]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]
