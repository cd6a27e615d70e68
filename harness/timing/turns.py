"""Who is timed when, and how often: arithmetic of durations, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.results.stage_names import GENERATION

MIN_REPEATS = 3
#: Timings from which on a median has an interval: a slow method has as many, if so many are asked.
ENOUGH = 6
#: Warm-up ends when two calls in a row agree within this share, or after this many seconds.
_STABLE = 0.05
WARM_UP_S = 2.0
#: A method this many times slower than the fastest is timed less often.
_SLOW = 10.0


def warm_up(call: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
    """Call until the duration is stable or long enough has passed.

    Args:
        call: makes one call; gives the seconds of each of its stages.

    Returns:
        The seconds of the last call's stages.
    """
    last = call()
    spent = last[GENERATION]
    while spent < WARM_UP_S:
        before, last = last[GENERATION], call()
        spent += last[GENERATION]
        if abs(last[GENERATION] - before) <= _STABLE * before:
            break
    return last


def repeats_of(seconds: Sequence[float], repeats: int) -> list[int]:
    """How often each method is timed: the slow ones less often, but six times.

    Args:
        seconds: [n] duration of one call of each method.
        repeats: timings of a fast method; no method has more.
    """
    limit = _SLOW * min(seconds, default=1.0)
    return [min(repeats, max(ENOUGH, int(repeats * limit / s))) for s in seconds]


def affordable(seconds: Sequence[float], wanted: Sequence[int], limit_s: float) -> list[int]:
    """How often each method can be timed in so many seconds: at least three times all the same.

    Args:
        seconds: [n] duration of one call of each method.
        wanted: [n] timings without a limit.
        limit_s: what all of them should take; infinite for no limit.
    """
    needed = sum(each * n for each, n in zip(seconds, wanted, strict=True))
    share = min(1.0, max(0.0, limit_s) / needed) if needed else 1.0
    return [max(MIN_REPEATS, int(n * share)) for n in wanted]


def interleaved(repeats: Sequence[int]) -> list[int]:
    """The order of calls: methods by index, in rounds, rarer ones spread over the rounds."""
    turns = [(turn / n, method) for method, n in enumerate(repeats) for turn in range(n)]
    return [method for _, method in sorted(turns)]
