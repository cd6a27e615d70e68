"""Write what components are given and give back, a page each, from the types that check it.

``make reference`` runs it; a test compares the pages with the types.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

from harness.base.atomic_files import write_text
from harness.benchmarks import protocol as benchmarks
from harness.benchmarks.given_images import GivesImages
from harness.benchmarks.questions import AnswerJudge, TensorAnswerer
from harness.experiment.providers import FRAMES, PROVIDERS
from harness.results.schemas import SCHEMAS
from hypernoise.methods import protocol as methods
from hypernoise.models import protocol as models
from hypernoise.models.length_counter import ReadsFewer
from hypernoise.prompt_lengths import Length
from hypernoise.rewards import protocol as rewards
from hypernoise.weights.stand_ins import HasStandIn

_MADE = "This page is made of the types themselves by `make reference`."
_SCORERS = f"""\
# Prompts, and what scores images

What a benchmark, a reward and a method are given and give back. Recipes stand in `examples`.
Prompts are checked before anything is made, and what the others return with the first batch.
Some types are for classes that do more: a reward that knows lengths, a method that puts in weights.
{_MADE}
"""
_FAMILY = f"""\
# A model family

The members of a class that `add_model` names as `target`. It is called with `weights` and
`size_px`, with `revision` and `architecture` where they are declared, and with all arguments.
The types after `Conditioning` are for families that do more than others.
{_MADE}
"""
_FRAMES = f"""\
# Columns of frames, and what tables are given

A table's function asks for these by the names of its parameters.
{_MADE}
"""
#: Page -> its head, and the types that it explains.
PAGES: dict[str, tuple[str, tuple[type, ...]]] = {
    "docs/scoring.md": (
        _SCORERS,
        (
            *(benchmarks.Prompt, benchmarks.Metric, benchmarks.Score, benchmarks.Benchmark),
            *(rewards.Reward, models.Conditioning),
            *(rewards.KnowsLengths, Length, rewards.PilReward, rewards.NeedsPackages),
            *(methods.Method, methods.Request, methods.Generated, methods.Spent),
            *(methods.Checked, methods.PutsIn, GivesImages, HasStandIn),
            *(AnswerJudge, TensorAnswerer),
        ),
    ),
    "docs/model_families.md": (
        _FAMILY,
        (
            *(models.Generator, models.Conditioning, ReadsFewer, models.CutsPrompts),
            *(models.KeepsEncodings, models.StartsAtTimestep, models.ChecksSources),
        ),
    ),
}
#: An annotation as a text, which it is until somebody asks for the type.
_QUOTED = re.compile(r"(: |-> )(?:ForwardRef\('([^']*)'\)|'([^']*)')")
_ITEM = re.compile(r"^    (\S[^:]*): (.*)")


def pages() -> dict[str, str]:
    """Every page by its place in a checkout."""
    found = {}
    for place, (head, types) in PAGES.items():
        found[place] = "\n".join([head, *(line for one in types for line in _type(one))])
    found["docs/frames.md"] = "\n".join([_FRAMES, *_frames()])
    return {
        place: re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n" for place, text in found.items()
    }


def write(root: Path = Path()) -> None:
    """Write the pages into a checkout."""
    for place, text in pages().items():
        write_text(root / place, text)


def _type(one: type) -> Iterator[str]:
    """A heading, what a type is, and its members with their signatures."""
    yield from [f"## `{one.__name__}`", "", f"`{one.__module__}`", "", *_words(one), ""]
    if is_dataclass(one) or issubclass(one, tuple):
        made = _QUOTED.sub(r"\1\2\3", str(inspect.signature(one))).replace("<factory>", "{}")
        yield from [*_code(one.__name__ + made.removesuffix(" -> None")), ""]
    for name, member in vars(one).items():
        function = getattr(member, "fget", getattr(member, "__func__", member))
        if inspect.isfunction(function) and not name.startswith("_"):
            signature = _QUOTED.sub(r"\1\2\3", str(inspect.signature(function)))
            signature = re.sub(r"\((self|cls), ", "(", signature)
            signature = signature.replace("(self)", "" if isinstance(member, property) else "()")
            yield from [f"### `{name}`", "", *_code(name + signature), "", *_words(function), ""]


def _code(signature: str) -> list[str]:
    """A signature as a block of code, in lines that are short enough."""
    lines = textwrap.wrap(signature, 104, subsequent_indent="    ", break_long_words=False)
    return ["```python", *lines, "```"]


def _words(documented: object) -> Iterator[str]:
    """A docstring as Markdown: its sections' items as lists, in lines that are short enough."""
    text = inspect.getdoc(documented) or ""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        item = _ITEM.match(line)
        is_head = re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields):", line)
        if paragraph and (not line.strip() or item or is_head):
            yield from _wrapped(" ".join(paragraph))
            paragraph = []
            if not line.strip():
                yield ""
        if is_head:
            yield from [f"*{line.removesuffix(':')}*", ""]
        elif item:
            paragraph = [f"- `{item[1]}`: {item[2]}"]
        elif line.strip():
            paragraph.append(line.strip())


def _wrapped(text: str) -> list[str]:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.wrap(text, 104, subsequent_indent=indent, break_long_words=False)


def _frames() -> Iterator[str]:
    yield from ["## Parameters", "", "| parameter | what it is given |", "|---|---|"]
    for kind in FRAMES:
        yield f"| `{kind}` | the frame of that name, below |"
    for name, provider in PROVIDERS.items():
        said = inspect.getdoc(provider) if provider.__name__ != "<lambda>" else _GIVEN[name]
        words = " ".join(str(said).replace("``", "`").replace("|", "\\|").split())
        yield f"| `{name}` | {words} |"
    for schema in SCHEMAS.values():
        key = textwrap.wrap("Key: " + ", ".join(f"`{name}`" for name in schema.key), 104)
        yield from [
            "",
            f"## `{schema.kind}`",
            "",
            *key,
            "",
            "| column | type | values | unit | meaning |",
            "|---|---|---|---|---|",
        ]
        for column in schema.columns:
            meaning = column.meaning.replace("|", "\\|")
            values = column.numbers if column.dtype in ("int64", "float64") else ""
            yield f"| `{column.name}` | {column.dtype} | {values} | {column.unit} | {meaning} |"


#: What those parameters are given that the plan knows without a function of its own.
_GIVEN = {
    "models": "The models that it shows.",
    "model": "The first of them.",
    "criterion": "What the config's trials are chosen by.",
    "reward": "The reward that is trained on and searched.",
    "judges": "Names of the rewards that no method saw, as metrics.",
    "batch_size": "The largest batch size that was timed.",
    "config": "The config, as its files say it.",
}


if __name__ == "__main__":
    write()
