"""The call of a declared target: checked without doing it, and done."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from harness.base.errors import SpecError, prefix
from harness.base.import_strings import resolve
from harness.base.signatures import check_call, signature_of
from harness.build.devices import dtype_of


def check_target(
    target: str, arguments: Mapping[str, Any], file: str = "", does: tuple[str, ...] = ()
) -> None:
    """Check that a target can be called with some arguments, and that it is of the right kind.

    Args:
        target: what is called; parts that the harness makes are among the arguments.
        arguments: by keyword, complete but for the device.
        file: is blamed in messages.
        does: methods that an object of its kind has; looked for where the target is a class.

    Raises:
        SpecError: the target does not exist, is something else, or does not take the arguments.
    """
    signature_of(target, file)
    made = resolve(target)
    lacking = [name for name in does if not hasattr(made, name)] if inspect.isclass(made) else []
    if lacking:
        raise SpecError(
            f"{prefix(file)}{target} is of another kind: it has no {' and no '.join(lacking)}"
        )
    check_call(target, arguments, file=file, filled={"device", "name"})
    if "dtype" in arguments:
        dtype_of(arguments["dtype"], file)


def check_size(target: str, what: str, size_px: int, made_by: str) -> None:
    """Check images against a target that takes images of one size only: ``takes_px`` says which.

    Args:
        what: how messages call what the target is of, as in ``reward 'matcher'``.
        size_px: width and height of the images.
        made_by: how messages call what makes them.

    Raises:
        SpecError: it takes another size.
    """
    only = getattr(resolve(target), "takes_px", None)
    if only not in (None, size_px):
        raise SpecError(
            f"{what} takes images of {only} px alone, and {made_by} makes images of {size_px} px: "
            f"take one that resizes, or a model with size_px={only}"
        )


def takes(target: str, name: str) -> bool:
    """Whether a target has a parameter of that name."""
    signature = signature_of(target)
    return signature is not None and name in signature.parameters


def call_target(target: str, arguments: Mapping[str, Any], device: str, file: str = "") -> Any:
    """Call a target; it gets the device if it takes one, and a dtype in place of its name.

    Raises:
        SpecError: it does not exist or does not take an argument.
    """
    check_call(target, arguments, file=file)
    given = {"device": device, **arguments} if takes(target, "device") else dict(arguments)
    if "dtype" in given:
        given["dtype"] = dtype_of(given["dtype"], file)
    return resolve(target)(**given)
