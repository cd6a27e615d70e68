"""Targets, ``"package.module:Attribute"``: looked up lazily, checked without being imported.

Importing a target costs seconds (torch) and Snakemake parses on every call, so parse-time checks
read the target's source instead of running it.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, get_args, get_type_hints

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class SpecError(ValueError):
    """A declaration or job that cannot be carried out; the message is for its author."""


def unknown(what: str, word: object, valid: Iterable[str], file: str = "") -> SpecError:
    """The error for a word outside a closed set: names the word, the nearest and all valid ones."""
    words = sorted(valid)
    close = difflib.get_close_matches(str(word), words, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    choices = ", ".join(words) or "none"
    return SpecError(f"{prefix(file)}unknown {what} {word!r}{hint} (valid: {choices})")


def prefix(file: str) -> str:
    """How messages start that blame a file."""
    return f"{file}: " if file else ""


def resolve(target: str) -> Any:
    """Import ``"package.module:Attribute"`` and return the attribute.

    Raises:
        SpecError: the text has another form, or module or attribute do not exist.
    """
    module_name, attribute = _split(target, "")
    if _source(module_name) is None and importlib.util.find_spec(module_name) is None:
        raise SpecError(f"target {target!r}: there is no module {module_name!r}")
    module = importlib.import_module(module_name)
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise unknown(f"attribute of {module_name}", attribute, public)
    return getattr(module, attribute)


def beside(target: str, form: str) -> Any:
    """What stands beside a target in its module under a name made of its own, or None: by the form
    ``check_{}`` it is ``check_score`` beside ``"package.module:score"``."""
    module_name, name = _split(target, "")
    return getattr(importlib.import_module(module_name), form.format(name), None)


@dataclass(frozen=True)
class Parameters:
    """What a target can be called with, as far as its source tells.

    Attributes:
        texts: defaults that are strings, or constants of the target's module that are.
    """

    names: tuple[str, ...]
    any_keyword: bool
    texts: Mapping[str, str] = field(default_factory=dict)


def check_target(target: str, file: str = "") -> Parameters | None:
    """Check by reading source that a target exists.

    Returns:
        Its parameters, or None where the source does not show them (imported names, inherited
        constructors, compiled modules).

    Raises:
        SpecError: the text has another form, or the module or attribute does not exist.
    """
    module_name, attribute = _split(target, file)
    source = _source(module_name)
    if source is None:
        raise SpecError(f"{prefix(file)}target {target!r}: there is no module {module_name!r}")
    if source.suffix != ".py":
        return None
    found = _definitions(source)
    if attribute not in found:
        imports = (ast.Import, ast.ImportFrom)
        own = [name for name, node in found.items() if not isinstance(node, imports)]
        names = [name for name in own if not name.startswith("_")]
        raise unknown(f"attribute of {module_name}", attribute, names, file)
    return _parameters(found[attribute], source)


def _split(target: str, file: str) -> tuple[str, str]:
    module_name, colon, attribute = target.partition(":")
    parts = [*module_name.split("."), attribute]
    if not colon or not all(part.isidentifier() for part in parts):
        raise SpecError(f"{prefix(file)}target {target!r} is not 'package.module:Attribute'")
    return module_name, attribute


@cache
def _source(module_name: str) -> Path | None:
    """The file of a module, found without importing its parent packages."""
    top, *rest = module_name.split(".")
    spec: ModuleSpec | None = importlib.util.find_spec(top)
    name = top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec is not None and spec.origin else None


@cache
def _definitions(source: Path) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.update({t.id: node for t in node.targets if isinstance(t, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update({(a.asname or a.name).split(".")[0]: node for a in node.names})
    return found


def _parameters(node: ast.stmt, source: Path) -> Parameters | None:
    if isinstance(node, _FUNCTIONS):
        return _of_function(node.args, 0, source)
    if not isinstance(node, ast.ClassDef):
        return None
    for member in node.body:
        if isinstance(member, _FUNCTIONS) and member.name == "__init__":
            return _of_function(member.args, 1, source)
    if node.bases:
        return None
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return Parameters(_fields(node), any_keyword=False)
    return Parameters((), any_keyword=False)


def _fields(node: ast.ClassDef) -> tuple[str, ...]:
    """The annotated fields of a dataclass or TypedDict."""
    return tuple(
        member.target.id
        for member in node.body
        if isinstance(member, ast.AnnAssign)
        and isinstance(member.target, ast.Name)
        and "ClassVar" not in ast.unparse(member.annotation)
    )


def _of_function(arguments: ast.arguments, skip: int, source: Path) -> Parameters:
    ordered = [*arguments.posonlyargs, *arguments.args][skip:] + arguments.kwonlyargs
    names = tuple(arg.arg for arg in ordered)
    texts = _texts(arguments, source)
    if arguments.kwarg is None:
        return Parameters(names, any_keyword=False, texts=texts)
    unpacked = _unpacked(arguments.kwarg.annotation, source)
    return Parameters((*names, *unpacked), any_keyword=not unpacked, texts=texts)


def _texts(arguments: ast.arguments, source: Path) -> dict[str, str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    # Defaults are those of the last ones.
    pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
    pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d]
    found = {argument.arg: _text(default, source) for argument, default in pairs}
    return {name: text for name, text in found.items() if text is not None}


def _text(node: ast.expr | None, source: Path) -> str | None:
    if isinstance(node, ast.Name):
        assigned = _definitions(source).get(node.id)
        node = assigned.value if isinstance(assigned, (ast.Assign, ast.AnnAssign)) else None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def _unpacked(annotation: ast.expr | None, source: Path) -> tuple[str, ...]:
    """The keywords that ``**keywords: Unpack[SomeTypedDict]`` stands for."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="Unpack"), slice=ast.Name(id=name)):
            found = _definitions(source).get(name)
            if isinstance(found, ast.ImportFrom) and found.module:
                file = _source(found.module)
                found = _definitions(file).get(name) if file else None
            return _fields(found) if isinstance(found, ast.ClassDef) else ()
    return ()


def keywords_of(factory: Any) -> dict[str, bool]:
    """What something imported can be called with: names, and whether each stands for any name.

    ``**keywords: Unpack[SomeTypedDict]`` is the names of that TypedDict.
    """
    found: dict[str, bool] = {}
    for name, parameter in inspect.signature(factory).parameters.items():
        is_any = parameter.kind is inspect.Parameter.VAR_KEYWORD
        if is_any and "Unpack" in str(parameter.annotation):
            function = factory.__init__ if inspect.isclass(factory) else factory
            (declared,) = get_args(get_type_hints(function)[name])
            found |= dict.fromkeys(declared.__annotations__, False)
        else:
            found[name] = is_any
    return found
