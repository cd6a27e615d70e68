"""What a result depends on, said next to what it is said about.

A result is known by names, versions and arguments. The marks here say which arguments do not count.
They stand in annotations, ``merged: Annotated[bool, SPEED_ONLY]``, and are read from the source
where importing it would bring torch. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T", bound=Any)


@dataclass(frozen=True)
class Mark:
    """Says of an argument or field why it does not count.

    Attributes:
        name: the constant's own, by which it is found in source.
    """

    name: str


#: It changes how fast a result comes about, and the result by rounding at most.
SPEED_ONLY = Mark("SPEED_ONLY")
#: It says where something is read, written or computed.
PLACE = Mark("PLACE")
#: It says what is kept of a training, and not how it goes: a training goes on with another value.
KEPT_ONLY = Mark("KEPT_ONLY")
#: It changes how images are scored, and not the images.
SCORES_ONLY = Mark("SCORES_ONLY")
#: It says how much is done, and with it how long that takes: a rehearsal does little.
WORK = Mark("WORK")
#: It names finished images of another tool, which the method gives and does not make.
IMAGES = Mark("IMAGES")


def depends_on_batch_size(method: T) -> T:
    """Say of a method's class or factory that an image depends on how many are made with it.

    Searches along gradients amplify rounding, and rounding differs between batch sizes.
    """
    return method


#: Sampling steps of a method that works between them.
LEAST_STEPS = 2


def needs_several_steps(method: T) -> T:
    """Say of a method's class that it works between sampling steps, of which one step has none."""
    return method
