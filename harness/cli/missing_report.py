"""Faults of a run that has not started: each once; what is missing with its size; what to type."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from harness.base.errors import Several, SpecError
from harness.experiment.publishers import known
from hypernoise.weights.pins import Missing, Unpinned, missing_in

_FREE = re.compile(r"[\d.]+ GiB free")
#: Before each command of the report.
INDENT = "    "
#: Components that `python -m harness pin` knows by name.
_PINNED = ("model", "reward", "method", "benchmark")


class Report:
    """Faults, in the order in which they were found; false where there are none."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}
        self._missing: dict[str, Missing] = {}
        self._users: dict[str, dict[str, None]] = defaultdict(dict)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def use(self, place: str, component: str) -> None:
        """Note that a component, as in ``reward pickscore``, needs what is at a place."""
        self._users[place][component] = None

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Take up what is raised inside: ValueError, OSError, or a package that is not there."""
        try:
            yield
        except ModuleNotFoundError as error:
            self.add(lack_of_package(error))
        except (ValueError, OSError) as error:
            self.add(error)

    def add(self, *errors: Exception) -> None:
        """Take up faults; a thing that is missing already is not told again."""
        for error in errors:
            if isinstance(error, Several):
                self.add(*error.errors)
                continue
            found, facts = missing_in(error), ""
            if found:
                if found.what in self._missing:
                    continue
                self._missing[found.what] = found
                facts = self._facts(found.what)
            # What is free on a device is another number each time.
            self._lines.setdefault(_FREE.sub("", str(error)), f"{error}{facts}")

    def __str__(self) -> str:
        lines = list(self._lines.values())
        if self._missing:
            n = len(self._missing)
            lines.append(f"{n} thing{'s are' if n > 1 else ' is'} missing; to have them, type:")
            lines += [f"{INDENT}{command}" for command in self._commands()]
        return "\n".join(lines)

    def _facts(self, what: str) -> str:
        users = self._users.get(what)
        needed = f"needed by {', '.join(users)}" if users else ""
        said = list(filter(None, [publishers_word(what), needed]))
        return f" ({'; '.join(said)})" if said else ""

    def _commands(self) -> list[str]:
        """What to type, each once: for all that lacks a pin it is one command."""
        # Without a name it would look up and trust whatever is declared anywhere.
        lacking = [what for what, found in self._missing.items() if isinstance(found, Unpinned)]
        users = (user.split() for what in lacking for user in self._users.get(what, ()))
        names = {name: None for kind, name in users if kind in _PINNED}
        pinned = [" ".join(["python -m harness pin --write", *names])] if names else []
        others = (found.command for found in self._missing.values())
        return list(dict.fromkeys([*pinned, *filter(None, others)]))


def publishers_word(place: str) -> str:
    """How large a download is and under which terms, as far as it is known."""
    try:
        facts = known(place)
    except SpecError:
        return ""
    size = "" if facts.size_bytes is None else facts.size
    return ", ".join(filter(None, [size, facts.licence, "gated" if facts.gated else ""]))


def lack_of_package(error: ModuleNotFoundError) -> Missing:
    """The lack of a package, which has another name as a distribution now and then."""
    name = (error.name or str(error)).partition(".")[0]
    known = [re.split(r"[\s<>=!~;\[]", said)[0] for said in metadata.requires("hypernoise") or ()]
    like = re.compile(re.escape(name).replace("_", "[-_]") + r"\b", re.IGNORECASE)
    distribution = next(filter(like.match, known), name.replace("_", "-"))
    return Missing(
        f"package {name} is not installed ({error})",
        f"package {name}",
        f"pip install {distribution}",
    )
