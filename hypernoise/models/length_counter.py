"""How much a generator's text encoders read of prompts.

The tokenizers are watched while a family encodes, as it alone knows the template and the length
that it gives each of them. What is encoded does not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.prompt_lengths import Length, Lengths, cut_lengths


@runtime_checkable
class ReadsFewer(Protocol):
    """A family that drops tokens after its text encoder, beyond what its tokenizer cuts."""

    @property
    def n_tokens_read(self) -> int:
        """Those of the template that stands before the prompt included."""
        ...


class LengthCounter:
    """Encodes as a generator does, and keeps how long each prompt was.

    Attributes:
        known: by prompt; one whose length could not be told is not there.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.known: dict[str, Lengths] = {}

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """As the generator's."""
        with _watched(self._generator.pipeline) as calls:
            encoded = self._generator.encode(prompts)
        family: object = self._generator
        limit = family.n_tokens_read if isinstance(family, ReadsFewer) else None
        found = {name: own for name, own in calls.items() if own}
        # A family that gives a tokenizer other texts than one per prompt cannot be followed.
        if found and all(len(own) == len(prompts) for own in found.values()):
            for row, prompt in enumerate(prompts):
                self.known[prompt] = {name: own[row].at_most(limit) for name, own in found.items()}
        return encoded


@contextmanager
def _watched(pipeline: Any) -> Iterator[dict[str, list[Length]]]:
    """Lengths of the texts that a pipeline's tokenizers are given to cut, in their order."""
    # Past diffusers' own setter, which would write the stand-in into the pipeline's config.
    own = vars(pipeline)
    real = {name: v for name, v in own.items() if name.startswith("tokenizer") and callable(v)}
    calls: dict[str, list[Length]] = {name: [] for name in real}
    own.update({name: _Watched(tokenizer, calls[name]) for name, tokenizer in real.items()})
    try:
        yield calls
    finally:
        own.update(real)


class _Watched:
    """A tokenizer that notes what it cuts, and is the real one otherwise."""

    def __init__(self, tokenizer: Any, found: list[Length]) -> None:
        vars(self).update(_tokenizer=tokenizer, _found=found)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_tokenizer"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Pipelines set the padding's side.
        setattr(vars(self)["_tokenizer"], name, value)

    def __call__(self, text: Any, **options: Any) -> Any:
        tokenizer = vars(self)["_tokenizer"]
        if options.get("truncation"):
            vars(self)["_found"] += cut_lengths(tokenizer, text, **options)
        return tokenizer(text, **options)
