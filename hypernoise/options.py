"""What options are made of: checked values that know their type, range, default and meaning.

An option is one field of a class. Its annotation says type and range, its value is the default,
and the docstring below it says what it means and in which unit. Config validation, the editor's
schema and the reference page are made of these classes. Snakemake reads them whenever it parses,
so nothing here imports torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Options(BaseModel):
    """Values that stay as they are. Unknown names, other types and values out of range raise."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )

    def changed(self, **values: Any) -> Self:
        """The same options but for these, checked again."""
        return type(self)(**self.model_dump() | values)
