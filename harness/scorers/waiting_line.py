"""Requests to one scorer: what waits is scored together, by a thread of the scorer's own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from harness.benchmarks.protocol import Prompt, Score
from harness.results.image_files import Bytes
from harness.scorers.scorer import Scorer

#: For each image of a request, the name of every metric -> its score.
Scores: TypeAlias = Sequence[Mapping[str, Score]]


class Full(Exception):
    """More images wait than are let wait."""


@dataclass(frozen=True)
class _Request:
    pixels: Sequence[Bytes]
    prompts: Sequence[Prompt]
    answer: Future[Scores] = field(default_factory=Future)


class WaitingLine:
    """Requests to a scorer in the order in which they came.

    Args:
        scorer: asked by one thread only.
        together: images that are scored together at most, unless one request has more.
        most_waiting: images that may wait; more are refused.
        device: held while images are scored: scorers of one device take turns.
    """

    def __init__(
        self, scorer: Scorer, together: int, most_waiting: int, device: threading.Lock
    ) -> None:
        self.scorer = scorer
        self._together, self._most_waiting, self._device = together, most_waiting, device
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(
            target=self._work, name=f"scorer {scorer.name}", daemon=True
        )
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Images that wait."""
        with self._changed:
            return sum(len(request.pixels) for request in self._waiting)

    def submit(self, pixels: Sequence[Bytes], prompts: Sequence[Prompt]) -> Future[Scores]:
        """Their scores, some time; a future that is cancelled before its turn costs nothing.

        Args:
            pixels: uint8 [H, W, 3] each.
            prompts: as many, of :meth:`Scorer.asked`.

        Raises:
            Full: too many images wait already, or the line is closed.
        """
        request = _Request(pixels, prompts)
        with self._changed:
            waiting = self.n_waiting
            if self._stopped or (waiting and waiting + len(pixels) > self._most_waiting):
                said = "is closing" if self._stopped else f"has {waiting} images waiting"
                raise Full(f"scorer {self.scorer.name} {said}")
            self._waiting.append(request)
            self._changed.notify()
        return request.answer

    def close(self) -> None:
        """Take no more requests, and answer those that wait before this returns."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while some := self._next():
            with self._device:
                self._answer(some)

    def _next(self) -> list[_Request]:
        """The requests whose turn it is, once there are any; none when the line is closed."""
        with self._changed:
            while True:
                taken = self._taken()
                if taken or self._stopped:
                    return taken
                self._changed.wait()

    def _taken(self) -> list[_Request]:
        taken: list[_Request] = []
        n = 0
        while self._waiting and (not taken or n + len(self._waiting[0].pixels) <= self._together):
            request = self._waiting.popleft()
            if request.answer.set_running_or_notify_cancel():
                taken.append(request)
                n += len(request.pixels)
        return taken

    def _answer(self, requests: Sequence[_Request]) -> None:
        try:
            pixels = [image for request in requests for image in request.pixels]
            prompts = [prompt for request in requests for prompt in request.prompts]
            found = self.scorer.scores(pixels, prompts)
        except Exception as error:
            if len(requests) == 1:
                requests[0].answer.set_exception(error)
                return
            # One of them is at fault, and the others need not suffer for it.
            for request in requests:
                self._answer([request])
            return
        place = 0
        for request in requests:
            request.answer.set_result(found[place : place + len(request.pixels)])
            place += len(request.pixels)
