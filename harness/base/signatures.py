"""What a target can be called with, read from its source, and the one check of a call against it.

Importing a target costs seconds where it brings torch, and Snakemake parses declarations on every
call. So nothing is imported here: definitions, base classes and imports are followed in source.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from harness.base.errors import SpecError, prefix, unknown
from harness.base.import_strings import source_of, split

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
#: The decorators of :mod:`hypernoise.identity`.
_DECORATORS = ("depends_on_batch_size", "needs_several_steps")
#: Parameters that no declaration gives: the harness does, or only Python callers can.
_FILLED_IN = {"device", "pipeline", "name"}
#: Types whose values are checked, and what messages call them.
_SAID = {"int": "a whole number", "bool": "true or false", "float": "a number"}
_SAID |= {"str": "a text", "None": "null"}
#: Base classes that bring no constructor of their own.
_BARE_BASES = {"object", "ABC", "Protocol", "Generic"}
#: Base classes whose annotated fields are what the constructor takes.
_FIELD_BASES = {"NamedTuple", "TypedDict", "BaseModel"}


@dataclass(frozen=True)
class Parameter:
    """A parameter, as far as its source tells.

    Attributes:
        types: the plain types that its annotation allows; empty for any value.
        constant: its default if that is a plain value, or a constant of its module that is one.
        marks: what its annotation says that is no type; of these :mod:`hypernoise.identity` has
            some.
    """

    name: str
    types: frozenset[str] = frozenset()
    is_required: bool = False
    constant: str | float | bool | None = None
    marks: frozenset[str] = frozenset()

    def takes(self, value: object) -> bool:
        """Whether a value has one of the types. A whole number is a number, a truth value is not.

        Python takes a truth value for a number, and a function may take a fraction for a count.
        """
        if not self.types:
            return True
        name = "None" if value is None else type(value).__name__
        return name in self.types or (name == "int" and "float" in self.types)


@dataclass(frozen=True)
class Signature:
    """What a target can be called with.

    Attributes:
        parameters: by name, in their order.
        any_keyword: whether it takes keywords of any other name, too.
        depends_on_batch_size, needs_several_steps: whether the decorator of this name marks it
            (:mod:`hypernoise.identity`).
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    any_keyword: bool = False
    depends_on_batch_size: bool = False
    needs_several_steps: bool = False

    @property
    def texts(self) -> dict[str, str]:
        """Defaults that are strings."""
        found = {name: one.constant for name, one in self.parameters.items()}
        return {name: text for name, text in found.items() if isinstance(text, str)}

    def marked(self, marks: Collection[str]) -> frozenset[str]:
        """Parameters that have one of some marks (names of :mod:`hypernoise.identity`)."""
        found = self.parameters.items()
        return frozenset(name for name, one in found if not one.marks.isdisjoint(marks))


class _Definition(NamedTuple):
    node: ast.stmt
    source: Path


def signature_of(target: str, file: str = "") -> Signature | None:
    """Find a target in its source.

    Returns:
        What it can be called with, or None where no source shows it (compiled modules, results of
        calls, base classes out of reach).

    Raises:
        SpecError: the text has another form, or the module or attribute does not exist.
    """
    module_name, attribute = split(target, file)
    source = source_of(module_name)
    if source is None:
        raise SpecError(f"{prefix(file)}target {target!r}: there is no module {module_name!r}")
    if source.suffix != ".py":
        return None
    found = _definitions(source)
    if attribute not in found:
        own = [name for name, node in found.items() if not isinstance(node, _IMPORTS)]
        names = [name for name in own if not name.startswith("_")]
        raise unknown(f"attribute of {module_name}", attribute, names, file)
    return _signature(source, attribute)


def check_call(
    target: str,
    arguments: Mapping[str, Any],
    *,
    file: str = "",
    what: str = "",
    where: str = "",
    valid: Iterable[str] = (),
    filled: Collection[str] | None = None,
) -> Signature | None:
    """Check that a target exists and can be called with some arguments.

    Args:
        target: ``"package.module:Attribute"``.
        arguments: by keyword.
        file: is blamed in messages.
        what: what messages call an argument, by default a keyword for the target.
        where: what messages call the call, by default the target.
        valid: words that messages name as valid besides the parameters.
        filled: parameters that are given otherwise, if the arguments are to be complete; None if
            more of them come later.

    Returns:
        As :func:`signature_of`.

    Raises:
        SpecError: as :func:`signature_of`, or an argument is unknown, missing or of a wrong type.
    """
    signature = signature_of(target, file)
    if signature is None:
        return None
    known = signature.parameters
    for name in sorted(arguments):
        if name not in known and not signature.any_keyword:
            choices = {*valid, *known} - _FILLED_IN
            raise unknown(what or f"keyword for {target}:", name, choices, file)
    at = f"{prefix(file)}{where or target}"
    for name, value in arguments.items():
        if name in known and not known[name].takes(value):
            said = " or ".join(text for kind, text in _SAID.items() if kind in known[name].types)
            raise SpecError(f"{at}: {name} must be {said}, got {value!r}")
    if filled is not None:
        given = {*arguments, *filled}
        lacking = [name for name, one in known.items() if one.is_required and name not in given]
        if lacking:
            raise SpecError(f"{at}: {', '.join(lacking)} must be given")
    return signature


@cache
def _definitions(source: Path) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(source.read_text(encoding="utf-8"), str(source)).body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.update({t.id: node for t in node.targets if isinstance(t, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, _IMPORTS):
            found.update({(a.asname or a.name).split(".")[0]: node for a in node.names})
    return found


def _find(source: Path, name: str) -> _Definition | None:
    """Where a name of a module is defined, through imports."""
    node = _definitions(source).get(name)
    if not isinstance(node, ast.ImportFrom):
        return None if node is None else _Definition(node, source)
    (original,) = (a.name for a in node.names if (a.asname or a.name) == name)
    file = source_of(node.module) if node.module and not node.level else None
    return _find(file, original) if file is not None and file.suffix == ".py" else None


def _find_class(source: Path, name: str) -> tuple[ast.ClassDef, Path] | None:
    """As :func:`_find`, for a class."""
    found = _find(source, name)
    return (found.node, found.source) if found and isinstance(found.node, ast.ClassDef) else None


@cache
def _signature(source: Path, name: str) -> Signature | None:
    found = _find(source, name)
    if found is None:
        return None
    node, source = found
    made: Signature | None
    if isinstance(node, _FUNCTIONS):
        made = _of_function(node.args, 0, source)
    elif isinstance(node, ast.ClassDef):
        made = _of_class(node, source)
    else:
        return None
    above = {name for decorator in node.decorator_list for name in _names(decorator)}
    marks = {name: name in above for name in _DECORATORS}
    return made and Signature(made.parameters, made.any_keyword, **marks)


def _of_class(node: ast.ClassDef, source: Path) -> Signature | None:
    for member in node.body:
        if isinstance(member, _FUNCTIONS) and member.name == "__init__":
            return _of_function(member.args, 1, source)
    if _has_fields(node, source):
        return Signature({one.name: one for one in _fields(node, source)})
    for base in _bases(node):
        if base not in _BARE_BASES:
            return _signature(source, base)
    return Signature()


def _bases(node: ast.ClassDef) -> list[str]:
    """Names of base classes, without their type arguments."""
    plain = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return [base.id if isinstance(base, ast.Name) else "" for base in plain]


def _has_fields(node: ast.ClassDef, source: Path) -> bool:
    """Whether a class takes its annotated fields: a dataclass, a model, a named tuple."""
    if any("dataclass" in _names(decorator) for decorator in node.decorator_list):
        return True
    for base in _bases(node):
        above = _find_class(source, base)
        if base in _FIELD_BASES or (above is not None and _has_fields(*above)):
            return True
    return False


def _fields(node: ast.ClassDef, source: Path) -> Iterator[Parameter]:
    """The annotated fields of a dataclass, named tuple, model or typed dictionary, in order."""
    for base in node.bases:
        found = _find_class(source, base.id) if isinstance(base, ast.Name) else None
        if found is not None:
            yield from _fields(*found)
    for member in node.body:
        match member:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=hint, value=default):
                if "ClassVar" not in _names(hint):
                    yield _parameter(name, hint, default, source)


def _of_function(arguments: ast.arguments, skip: int, source: Path) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    no_default: list[ast.expr | None] = [None]
    # Defaults are those of the last ones.
    defaults = no_default * (len(positional) - len(arguments.defaults)) + arguments.defaults
    pairs = [*zip(positional, defaults, strict=True)][skip:]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found = {arg.arg: _parameter(arg.arg, arg.annotation, given, source) for arg, given in pairs}
    if arguments.kwarg is None:
        return Signature(found)
    # The keywords that ``**keywords: Unpack[SomeTypedDict]`` stands for: none is required.
    unpacked = {}
    match arguments.kwarg.annotation:
        case ast.Subscript(value=ast.Name(id="Unpack"), slice=ast.Name(id=name)):
            typed = _find_class(source, name)
            for one in _fields(*typed) if typed else ():
                unpacked[one.name] = Parameter(one.name, one.types, marks=one.marks)
    return Signature(found | unpacked, any_keyword=not unpacked)


def _parameter(
    name: str, annotation: ast.expr | None, default: ast.expr | None, source: Path
) -> Parameter:
    marks: list[ast.expr] = []
    match annotation:
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[_, *marks])):
            pass
    constant, value = None, default
    if isinstance(value, ast.Name):
        assigned = _definitions(source).get(value.id)
        value = assigned.value if isinstance(assigned, (ast.Assign, ast.AnnAssign)) else None
    if isinstance(value, ast.Constant) and isinstance(value.value, str | int | float):
        constant = value.value
    return Parameter(
        name,
        types=_types(annotation),
        is_required=default is None,
        constant=constant,
        marks=frozenset(mark.id for mark in marks if isinstance(mark, ast.Name)),
    )


def _names(node: ast.expr | None) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} if node else set()


def _types(annotation: ast.expr | None) -> frozenset[str]:
    match annotation:
        case ast.Name(id=name) if name in _SAID:
            return frozenset({name})
        case ast.Constant(value=None):
            return frozenset({"None"})
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *_])):
            return _types(inner)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            both = _types(left), _types(right)
            return both[0] | both[1] if all(both) else frozenset()
    return frozenset()
