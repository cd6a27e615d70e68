"""Encodings of prompts on disk: each prompt is encoded once, and then the text encoders can go.

Text encoders are the larger part of some models, and the encodings of many prompts are larger
still. So the encoding of each prompt is a file of its own, and is read with the batch that needs it
(:meth:`hypernoise.models.protocol.Conditioning.to` moves it to the generator's device).

A training has so many prompts that their encodings fill disks: 70,000 of SANA-Sprint's are 97 GB.
So they are encoded with each batch, and kept nowhere; the text encoders then stay.

A file also says how long its prompt is to each tokenizer, which nobody asks again: files of before
that do not, and those prompts' lengths stay unknown. Lengths of prompts without a file are lines of
one file, which all processes and later runs of a training add to.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from harness.base.atomic_files import in_one_go
from harness.experiment.components import ModelSpec
from harness.experiment.identity import job_hash
from hypernoise.models.length_counter import LengthCounter
from hypernoise.models.loading import free_text_encoders
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.prompt_lengths import Length, Lengths
from hypernoise.training.processes import ALONE, Processes

_PROMPT, _LENGTHS = "prompt", "lengths"
_LENGTHS_FILE = "lengths.jsonl"
#: Prompts that are encoded together.
_BATCH = 64


class EncodedOnce:
    """A generator whose prompts are encoded once, for all jobs that share the folder.

    Everything but :meth:`encode` is the generator's own.

    Args:
        generator: the generator.
        folder: where the encodings of this generator and its options are.
    """

    def __init__(self, generator: Generator, folder: Path) -> None:
        self._generator = generator
        self._counter = LengthCounter(generator)
        self._folder = folder
        self._may_encode = True
        self._is_prepared = False
        self._passing: frozenset[str] = frozenset()
        # A job asks for its prompts more than once, and looking into 70,000 files takes long.
        self._whole: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        # A copy in the making has no generator yet, and would ask itself for it without end.
        if name == "_generator":
            raise AttributeError(name)
        return getattr(self._generator, name)

    @property
    def own(self) -> Generator:
        """The generator behind it."""
        return self._generator

    @property
    def lengths(self) -> dict[str, Lengths]:
        """How long prompts are that were asked for, as far as their files say; of passing ones,
        those too that other processes and earlier runs encoded."""
        known = self._counter.known
        file = self._folder / _LENGTHS_FILE
        if self._passing and file.is_file():
            for line in file.read_text(encoding="utf-8").split("\n")[:-1]:
                with suppress(ValueError, KeyError, TypeError):  # Torn by a kill.
                    told = json.loads(line)
                    known[told[_PROMPT]] = _lengths(told[_LENGTHS])
        return known

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """As the generator's, from files where there are some: on the CPU.

        After :meth:`prepare`, prompts that a method words itself get no files: there are many of
        them, and nobody asks for them again.

        Raises:
            ValueError: a prompt has no file, and the text encoders are gone.
        """
        is_own_wording = self._is_prepared and not self._whole.issuperset(prompts)
        if is_own_wording and self._may_encode:
            with torch.no_grad():
                return self._counter.encode(prompts)
        return self.on_disk(prompts).rows(range(len(prompts)))

    def encode_passing(self, prompts: Sequence[str]) -> Conditioning:
        """As the generator's; what is kept are the lengths."""
        known = self._counter.known
        unknown = set(prompts) - known.keys()
        with torch.no_grad():
            encoded = self._counter.encode(prompts)
        if new := sorted(unknown & known.keys()):
            self._folder.mkdir(parents=True, exist_ok=True)
            lines = (json.dumps({_PROMPT: p, _LENGTHS: known[p]}) + "\n" for p in new)
            # In one write, so that lines of processes side by side stay whole.
            with (self._folder / _LENGTHS_FILE).open("ab", buffering=0) as file:
                file.write("".join(lines).encode())
        return encoded

    def on_disk(self, prompts: Sequence[str]) -> OnDisk:
        """Encode prompts that have no file yet, and read each when it is asked for; passing ones
        are encoded when they are asked for, and get no file.

        Raises: as :meth:`encode`.
        """
        kept = [prompt for prompt in prompts if prompt not in self._passing]
        for start in range(0, len(kept), _BATCH):
            self._encode_missing(kept[start : start + _BATCH])
        return OnDisk(self._folder, tuple(prompts), self._passing, self.encode_passing)

    def prepare(
        self, prompts: Sequence[str], keep_encoders: bool = False, passing: Iterable[str] = ()
    ) -> None:
        """Encode all prompts of a job that have no file yet, then free the text encoders.

        Args:
            prompts: all that the job knows of, but for ``passing``.
            keep_encoders: leave them in memory, for a method that words prompts of its own.
            passing: prompts that are encoded with the batch that needs them; with any, the text
                encoders stay.
        """
        self.on_disk(prompts)
        self._is_prepared = True
        self._passing = frozenset(passing).difference(prompts)
        if not (keep_encoders or self._passing):
            free_text_encoders(self._generator.pipeline)
            self._may_encode = False

    def _encode_missing(self, prompts: Sequence[str]) -> None:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._whole]
        missing = [prompt for prompt in new if not self._is_whole(prompt)]
        if missing:
            if not self._may_encode:
                raise ValueError(
                    f"prompt {missing[0]!r} was not encoded before the text encoders went"
                )
            with torch.no_grad():
                encoded = self._counter.encode(missing)
            for row, prompt in enumerate(missing):
                about = {_PROMPT: prompt}
                if prompt in self._counter.known:
                    about[_LENGTHS] = json.dumps(self._counter.known[prompt])
                tensors = {n: v[row].cpu().contiguous() for n, v in encoded.tensors.items()}
                # Jobs that run side by side may write the same prompt.
                with in_one_go(_file(self._folder, prompt)) as partial:
                    save_file(tensors, partial, metadata=about)
        self._whole.update(new)

    def _is_whole(self, prompt: str) -> bool:
        """Whether a prompt has a file; notes what that says of its length."""
        path = _file(self._folder, prompt)
        if not path.is_file():
            return False
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
            fault = "" if about.get(_PROMPT) == prompt else "another prompt's"
            if not fault and _LENGTHS in about:
                self._counter.known[prompt] = _lengths(json.loads(about[_LENGTHS]))
        except (SafetensorError, ValueError, TypeError, AttributeError) as error:
            fault = f"damaged: {error}"
        if fault:
            print(f"{path} is {fault}; {prompt!r} is encoded again", file=sys.stderr)
        return not fault


@dataclass(frozen=True)
class OnDisk:
    """Encodings that are read from their files batch by batch: 70,000 prompts fit no memory.

    Those of ``passing`` prompts have no files: ``encode`` makes them.
    """

    folder: Path
    prompts: tuple[str, ...]
    passing: frozenset[str] = frozenset()
    encode: Callable[[Sequence[str]], Conditioning] | None = None

    def rows(self, index: Sequence[int]) -> Conditioning:
        """The conditioning of some prompts on the CPU, in the given order; rows may repeat."""
        prompts = tuple(self.prompts[row] for row in index)
        made: dict[str, dict[str, torch.Tensor]] = {}
        if new := [prompt for prompt in dict.fromkeys(prompts) if prompt in self.passing]:
            assert self.encode is not None  # who lets prompts pass gives one
            encoded = self.encode(new)
            for row, prompt in enumerate(new):
                made[prompt] = {name: v[row].cpu() for name, v in encoded.tensors.items()}
        rows = [made.get(prompt) or load_file(_file(self.folder, prompt)) for prompt in prompts]
        tensors = {name: torch.stack([row[name] for row in rows]) for name in sorted(rows[0])}
        return Conditioning(tensors, prompts)


def _lengths(told: Mapping[str, Sequence[int]]) -> Lengths:
    """Lengths as they were before they became JSON."""
    return {name: Length.told(*length) for name, length in told.items()}


def _file(folder: Path, prompt: str) -> Path:
    name = hashlib.sha256(prompt.encode()).hexdigest()
    return folder / name[:2] / f"{name}.safetensors"


def encoded_once(generator: Generator, spec: ModelSpec, device: str) -> Generator:
    """The generator with encodings in the folder that its declaration names, if it names one."""
    if not spec.encodings:
        return generator
    # What encodings depend on, and more: generator, local files, whose arithmetic it is. The hash
    # adds the versions of tokenizers, text encoders and torch.
    inputs = [spec.weights] if spec.is_local else []
    on = torch.device(device).type
    identity = job_hash({"generator": spec, "device": on}, inputs)[:16]
    folder = Path(spec.encodings) / spec.name / identity
    return cast(Generator, EncodedOnce(generator, folder))


def prepare(
    generator: Generator,
    prompts: Sequence[str],
    processes: Processes = ALONE,
    keep_encoders: bool = False,
    passing: Iterable[str] = (),
) -> None:
    """Encode a job's prompts and free the text encoders, where encodings are kept on disk.

    Several processes encode a part each. ``keep_encoders``, ``passing``: see
    :meth:`EncodedOnce.prepare`.
    """
    if not isinstance(generator, EncodedOnce):
        return
    if len(prompts) >= processes.count:
        generator.on_disk(processes.share(prompts))
    processes.wait()
    generator.prepare(prompts, keep_encoders, passing)
