"""How long prompts are, and how much of them text encoders read: the rest is cut off silently.

The tokenizers are watched while a family encodes, as it alone knows the template and the length
that it gives each of them. What is encoded does not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from hypernoise.models.protocol import Conditioning, Generator


class Length(NamedTuple):
    """Tokens of a prompt, those of its template and the special ones included.

    Attributes:
        tokens: what it has.
        read: how many of them are read at most.
    """

    tokens: int
    read: int

    @property
    def is_cut(self) -> bool:
        return self.tokens > self.read


#: Of one prompt, by the name of the tokenizer.
Lengths: TypeAlias = Mapping[str, Length]


@runtime_checkable
class KnowsLengths(Protocol):
    """A reward that can say how long prompts are to its text encoder."""

    def lengths(self, prompts: Sequence[str]) -> Sequence[Lengths]:
        """One entry per prompt."""
        ...


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
                self.known[prompt] = {
                    name: own[row] if limit is None else Length(own[row].tokens, limit)
                    for name, own in found.items()
                }
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


def cut_lengths(
    tokenizer: Any,
    texts: str | Sequence[str],
    max_length: int | None = None,
    add_special_tokens: bool = True,
    **_: Any,
) -> list[Length]:
    """What a tokenizer of transformers makes of texts, and what it leaves of them.

    Args:
        tokenizer: the tokenizer.
        texts: one or more.
        max_length: as it is called with; without, its own.
        add_special_tokens: as it is called with.
    """
    many = [texts] if isinstance(texts, str) else list(texts)
    # Not verbose: it would warn of a length that nothing is read with.
    whole = tokenizer(many, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    limit = tokenizer.model_max_length if max_length is None else max_length
    return [Length(len(ids), int(limit)) for ids in whole]
