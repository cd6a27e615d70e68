"""A reward or benchmark that is declared, as a function: ``load(name)(images, prompts)``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from harness.base.errors import SpecError, given_as, unknown
from harness.benchmarks.build import check_benchmark
from harness.benchmarks.protocol import Images, Metric, Prompt, Score
from harness.build.devices import check_device, default_device
from harness.build.prompt_cuts import Cuts, cuts, lengths_to, warn
from harness.build.rewards import build_reward, check_reward
from harness.build.targets import check_size
from harness.experiment.component_files import declared
from harness.experiment.components import BenchmarkSpec, RewardSpec
from harness.results.image_files import Bytes, decoded, rgb
from harness.stages.score import rewards_of, scores_of
from hypernoise.batches import Batches
from hypernoise.images import to_uint8
from hypernoise.models.protocol import encode_in_chunks

#: A file, a picture of Pillow, uint8 [H, W, 3], or a tensor [3, H, W] in [0, 1].
AnyImage: TypeAlias = str | Path | Image.Image | Bytes | Tensor
#: A text, or a mapping with ``prompt``, and with ``task`` and ``metadata`` of a benchmark.
Asked: TypeAlias = str | Mapping[str, Any] | Prompt
_FIELDS = ("prompt", "task", "metadata")


class Measure(Protocol):
    """What a scorer asks, a reward or a benchmark."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured, higher is better."""
        ...

    def prompt(self, text: str) -> Prompt:
        """The prompt of that text; ValueError where its images could not be judged."""
        ...

    def check(self, prompts: Sequence[Prompt]) -> None:
        """ValueError for prompts whose images cannot be judged."""
        ...

    def score(self, images: Images, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, Score]]:
        """As :meth:`harness.benchmarks.protocol.Benchmark.score`."""
        ...

    def cuts(self, prompts: Sequence[Prompt]) -> Cuts:
        """Which prompts are longer than is read."""
        ...


class Scorer:
    """A loaded reward or benchmark. Threads have to ask it one at a time.

    Attributes:
        name: as it is declared.
        metrics: what it measures, higher is better.
    """

    def __init__(self, name: str, measure: Measure, target: str, batch_size: int) -> None:
        self.name, self.metrics = name, measure.metrics
        self._measure, self._target = measure, target
        self._batches = Batches(batch_size, f"scorer {name}")

    def __call__(self, images: Iterable[AnyImage], prompts: Iterable[Asked]) -> pd.DataFrame:
        """Score images, each against its prompt.

        Args:
            images: N of :data:`AnyImage`, of any sizes; a tensor [N, 3, H, W] in [0, 1] is N.
                Tensors are rounded to 8 bits, as if they had been saved.
            prompts: N of :data:`Asked`. A benchmark knows its own prompts by their text; others
                need the metadata that it judges by.

        Returns:
            N rows: ``prompt``, a column for each metric (NaN where the metric's own rules leave an
            image out), and ``METRIC_detail`` where the metric says why.

        Raises:
            ValueError: numbers differ, an image cannot be read or has a size that is not taken, or
                a prompt is unknown or cannot be judged. A prompt that is longer than is read is
                no error, and is told on standard error.
        """
        asked = self.asked(prompts)
        pixels = [pixels_of(image, f"image {n}") for n, image in enumerate(images)]
        found = self.scores(pixels, asked)
        warn(f"scorer {self.name}", self.cuts(asked))
        columns: dict[str, Any] = {"prompt": [prompt.text for prompt in asked]}
        for metric in self.metrics:
            own = [scores[metric.name] for scores in found]
            columns[metric.name] = np.array([value_of(one) for one in own], dtype=np.float64)
            if any(score.detail for score in own):
                columns[f"{metric.name}_detail"] = [score.detail for score in own]
        return pd.DataFrame(columns)

    def asked(self, prompts: Iterable[Asked]) -> list[Prompt]:
        """Prompts as the scorer takes them.

        Raises:
            ValueError: as the call.
        """
        if isinstance(prompts, str):
            raise SpecError(f"prompts are one for each image, got the text {prompts!r}")
        found = [self._prompt(one, f"prompt {n}") for n, one in enumerate(prompts)]
        self._measure.check(found)
        return found

    def scores(
        self, pixels: Sequence[Bytes], prompts: Sequence[Prompt]
    ) -> list[Mapping[str, Score]]:
        """For each image, the name of every metric -> its score.

        Args:
            pixels: uint8 [H, W, 3] each; those of one size are scored together.
            prompts: as :meth:`asked` gives them.

        Raises:
            ValueError: numbers differ, a size is not taken, or a value is not finite.
        """
        if len(pixels) != len(prompts):
            raise SpecError(f"there are {len(pixels)} images and {len(prompts)} prompts")
        found: list[Mapping[str, Score]] = [{} for _ in pixels]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for row, image in enumerate(pixels):
            by_size.setdefault(image.shape, []).append(row)
        for (height, width, _), rows in by_size.items():
            for side in {height, width}:
                check_size(self._target, f"scorer {self.name!r}", side, "a caller")
            for some, given in self._batches.run(
                rows, lambda batch: self._of(batch, pixels, prompts)
            ):
                for row, scores in zip(some, given, strict=True):
                    found[row] = scores
        return found

    def cuts(self, prompts: Sequence[Prompt]) -> Cuts:
        """Which prompts are longer than the scorer reads, by their place."""
        return self._measure.cuts(prompts)

    def _of(
        self, rows: Sequence[int], pixels: Sequence[Bytes], prompts: Sequence[Prompt]
    ) -> Sequence[Mapping[str, Score]]:
        stacked = np.stack([pixels[row] for row in rows]).transpose(0, 3, 1, 2)
        images = np.ascontiguousarray(stacked, dtype=np.float32) / np.float32(255)
        return self._measure.score(images, [prompts[row] for row in rows])

    def _prompt(self, asked: Asked, where: str) -> Prompt:
        if isinstance(asked, Prompt):
            return asked
        if isinstance(asked, str):
            return self._measure.prompt(asked)
        if not isinstance(asked, Mapping) or not isinstance(asked.get("prompt"), str):
            raise SpecError(
                f"{where} is {given_as(asked)}, must be a text or a mapping with prompt, task and "
                "metadata"
            )
        for name in asked:
            if name not in _FIELDS:
                raise unknown(f"field of {where}", str(name), _FIELDS)
        if not asked.keys() - {"prompt"}:
            return self._measure.prompt(asked["prompt"])
        metadata = asked.get("metadata", {})
        if not isinstance(metadata, Mapping):
            raise SpecError(f"metadata of {where} is {given_as(metadata)}, must be a mapping")
        return Prompt(
            where.replace(" ", "-"), asked["prompt"], str(asked.get("task", "")), metadata
        )


class OfReward:
    """A reward, of whatever prompt."""

    def __init__(self, spec: RewardSpec, device: str) -> None:
        check_reward(spec)
        self.metrics = (Metric(spec.name, f"the reward {spec.name}"),)
        self._reward, self._device = build_reward(spec, device), device

    def prompt(self, text: str) -> Prompt:
        return Prompt(text, text, "")

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Any prompt will do."""

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        row_of = {text: row for row, text in enumerate(dict.fromkeys(p.text for p in prompts))}
        features = encode_in_chunks(self._reward.encode, list(row_of))
        rows = features.rows([row_of[prompt.text] for prompt in prompts])
        values = rewards_of(self._reward, images, rows, self._device)
        return [{self.metrics[0].name: Score(value)} for value in values]

    def cuts(self, prompts: Sequence[Prompt]) -> Cuts:
        texts = list(dict.fromkeys(prompt.text for prompt in prompts))
        return cuts(lengths_to(self._reward, texts), dict(zip(texts, texts, strict=True)))


class OfBenchmark:
    """A benchmark, of its own prompts or of others like them."""

    def __init__(self, spec: BenchmarkSpec) -> None:
        self._name, self._benchmark = spec.name, check_benchmark(spec)
        self.metrics = tuple(self._benchmark.metrics)
        if not self.metrics:
            raise SpecError(f"benchmark {spec.name!r} measures nothing itself: load a reward")

    @cached_property
    def _own(self) -> dict[str, Prompt]:
        return {prompt.text: prompt for prompt in self._benchmark.prompts()}

    def prompt(self, text: str) -> Prompt:
        if text not in self._own:
            raise unknown(
                f"prompt of benchmark {self._name} (others need metadata)", text, self._own
            )
        return self._own[text]

    def check(self, prompts: Sequence[Prompt]) -> None:
        self._benchmark.check(prompts)

    def score(self, images: Images, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, Score]]:
        return scores_of(self._benchmark, images, [prompts])[0]

    def cuts(self, prompts: Sequence[Prompt]) -> Cuts:
        return cuts({}, {})


def load(
    name: str,
    *,
    components: Sequence[str | Path] = ("workflows",),
    device: str = "",
    batch_size: int = 32,
) -> Scorer:
    """A reward or benchmark by the name under which it is declared, e.g. ``load("hpsv2_1")``.

    Args:
        name: ``python -m harness list rewards`` and ``list benchmarks`` show them.
        components: folders with component files; the first is the workflow's, which comes with the
            installed package, others are your own.
        device: ``"cpu"`` or ``"cuda"``; the GPU where there is one, without.
        batch_size: images at a time; halved where memory does not suffice.

    Raises:
        SpecError: there is no such reward or benchmark, or both are.
        ValueError, FileNotFoundError: weights or data are missing, or the device is.
    """
    check_device(device)
    if batch_size < 1:
        raise SpecError(f"batch_size must be at least 1, got {batch_size}")
    registry = declared(*map(Path, components))
    if name in registry.rewards and name in registry.benchmarks:
        raise SpecError(f"there is a reward {name!r} and a benchmark {name!r}: rename your own")
    if name not in registry.rewards and name not in registry.benchmarks:
        raise unknown("reward or benchmark", name, [*registry.rewards, *registry.benchmarks])
    if name in registry.benchmarks:
        spec = registry.benchmarks[name]
        return Scorer(name, OfBenchmark(spec), spec.target, batch_size)
    reward = registry.reward(name)
    return Scorer(name, OfReward(reward, device or default_device()), reward.target, batch_size)


def value_of(score: Score) -> float:
    """A score's value, NaN of an image that is left out."""
    return float("nan") if score.left_out else float(score.value)


def pixels_of(image: AnyImage, where: str) -> Bytes:
    """The pixels of an image, uint8 [H, W, 3]; ``where`` names it in messages.

    Raises:
        ValueError: it is none, or has other channels or values than :data:`AnyImage` says.
    """
    if isinstance(image, str | Path):
        return decoded(str(image))
    if isinstance(image, Image.Image):
        return np.asarray(rgb(image))
    shape = tuple(getattr(image, "shape", ()))
    if isinstance(image, Tensor) and image.is_floating_point() and shape[:1] == (3,):
        pixels = image.detach().float().cpu()
        if len(shape) != 3 or not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise SpecError(f"{where} must be [3, H, W] in [0, 1], got {list(shape)}")
        return np.ascontiguousarray(to_uint8(pixels[None])[0])
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and shape[2:] == (3,):
        return image
    raise SpecError(
        f"{where} must be a file, a picture, uint8 [H, W, 3] or a tensor [3, H, W] of floats, got "
        f"{given_as(image)} {getattr(image, 'dtype', '')} {list(shape) or ''}".rstrip()
    )
