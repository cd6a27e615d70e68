"""A table as files: csv and parquet with every digit, md, tex and html for people.

A column ``..._ci_low`` and the ``..._ci_high`` after it are the 95 % interval of the column just
before them. For people the three become one, ``0.792 [0.76, 0.82]``; an interval that is a point
says nothing and is left out. So do the columns of a published number, ``0.750 (-0.008, inside)``
(:mod:`harness.analysis.published`).

A table function may say in ``table.attrs`` what belongs below its table (``notes``, sentences;
``first_notes`` before all others), what its intervals are where they are not those of images
(``intervals``, a sentence), and what its columns are (``columns``: name -> ``unit``, ``meaning``,
``form`` and ``best``; see
:class:`harness.analysis.columns.Column`). Where ``best`` is ``"highest"`` or ``"lowest"``, the best
value of each model is marked, and so is what may be as good: by the paired difference where the
table says which rows tie (:mod:`harness.analysis.references`), else every value whose interval
holds the best one. Where a column ``source`` says that a row is only published, the row is grey, in
Markdown in italics, its numbers have the printed digits, and nothing of it is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis import published
from harness.analysis.columns import form_of
from harness.analysis.interval_columns import CI_HIGH, CI_LOW
from harness.analysis.pairing import CELL
from harness.analysis.references import TIED
from harness.analysis.training_seeds import FIRST_NOTES
from harness.base.atomic_files import write_text
from harness.experiment.jobs import TableJob
from harness.report.pages import Cell, Row, Table, tables_page
from harness.results import frames, provenance

_PUBLISHED, _DIFFERENCE, _WITHIN = "_published", "_difference", "_published_within"
_BOUNDS = (CI_LOW, CI_HIGH)
_MISSING = "\N{EN DASH}"
_DTYPES: Mapping[str, frames.Dtype] = {"i": "int64", "u": "int64", "f": "float64", "b": "bool"}
_INTERVALS = "Intervals in brackets: 95 %, images of prompts that ask for the same are one cluster."
BEST = (
    "Bold: the best of each model, and whatever differs from it by nothing that is known: the "
    "interval of the paired difference holds 0, or of times, their own interval the best value."
)
_CORRECTED = "p_holm: of no gain, corrected by Holm's method for all gains of this table."
_UNCORRECTED = (
    "Gains of rewards (gain_...) are paired on the same noise; each interval is one of its own at "
    "95 %, and none of them is among the gains that p_holm is corrected for."
)
#: Characters of a row that a page of LaTeX's 10 pt holds between margins of an inch, and those that
#: the gap between two columns takes.
PAGE_CHARACTERS = 90
_GAP_CHARACTERS = 2
_TEX = {
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    _MISSING: "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def write(
    table: pd.DataFrame, out: str | Path, job: TableJob, record: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write ``out`` + .csv, .md, .tex, .html and .parquet, each in one go; folders are made.

    Provenance is in the parquet's metadata, and in words under the md and html and as a comment
    in the tex; the csv stays plain, so that everything can read it.

    Args:
        record: what texts shall say of the making (:func:`describe`).

    Returns:
        The files.

    Raises:
        ValueError: the table has no rows.
    """
    if table.empty:
        raise ValueError(f"table {job.table.name!r} has no rows")
    origin = describe(job, record)
    texts = {
        ".csv": table.to_csv(index=False, lineterminator="\n"),
        ".md": markdown(table, origin),
        ".tex": latex(table, origin),
        ".html": page(table, job.table.name, origin),
    }
    # Not with_suffix, because a name like "steps1.5" must keep its dot.
    files = {suffix: Path(f"{out}{suffix}") for suffix in (*texts, ".parquet")}
    for suffix, text in texts.items():
        write_text(files[suffix], text)
    columns = []
    for name in table.columns:
        dtype = _DTYPES.get(table[name].dtype.kind, "string")
        unit, meaning = (_said(table, name, what) for what in ("unit", "meaning"))
        columns.append(frames.Column(name, dtype, unit, meaning, may_be_missing=True))
    schema = frames.Schema(f"table {job.table.name}", tuple(columns))
    frames.write(table, files[".parquet"], schema, job)
    return list(files.values())


def for_people(table: pd.DataFrame) -> pd.DataFrame:
    """The table in words: numbers rounded, each interval beside its value, gaps as a dash."""
    columns = list(table.columns)
    cells: dict[str, list[str]] = {}
    for name, after in zip(columns, [*columns[1:], ""], strict=True):
        if name.endswith((*_BOUNDS, _DIFFERENCE, _WITHIN)) or name == published.SOURCE_COLUMN:
            continue
        form, as_printed = _form(table, name), _FORMS["as_printed"]
        forms = [as_printed if p and _is_number(table[name]) else form for p in _printed(table)]
        values = zip(table[name], forms, strict=True)
        cells[name] = [_MISSING if pd.isna(value) else write(value) for value, write in values]
        if name.endswith(_PUBLISHED):
            ours = (table[name.removesuffix(_PUBLISHED) + end] for end in (_DIFFERENCE, _WITHIN))
            cells[name] = list(map(_compared, cells[name], *ours))
        if after.endswith(CI_LOW):
            bounds = (table[after.removesuffix(CI_LOW) + end] for end in (CI_LOW, CI_HIGH))
            is_time = [name.endswith("_ms")] * len(table)
            beside = map(_beside, cells[name], table[name], *bounds, is_time)
            pairs = zip(cells[name], beside, _printed(table), strict=True)
            cells[name] = [alone if printed else both for alone, both, printed in pairs]
    return pd.DataFrame(cells, dtype="str")


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Which cells of :func:`for_people` are marked as best: booleans of the same shape."""
    table, columns = table.reset_index(drop=True), list(map(str, table))
    marks = pd.DataFrame(False, index=table.index, columns=for_people(table).columns)
    groups = table["model"] if "model" in table else pd.Series(0, index=table.index)
    for name in map(str, marks):
        which = _said(table, name, "best")
        if not which or len(table) < 2:
            continue
        if name in (tied := table.attrs.get(TIED, {})):
            rows = zip(*(table[part].astype(str) for part in CELL), strict=True)
            marks[name] = [row in tied[name] for row in rows]
            continue
        sign = {"highest": 1.0, "lowest": -1.0}[which]
        values = sign * table[name]
        after = [c for c in columns[columns.index(name) + 1 :][:2] if c.endswith(_BOUNDS)]
        bounds = [sign * table[bound].fillna(table[name]) for bound in after]
        # Whichever bound is the further one reaches up to the best value.
        reach = pd.concat([values, *bounds], axis=1).max(axis=1)
        marks[name] = (reach >= values.groupby(groups).transform("max")) & ~_printed(table)
    return marks


def markdown(table: pd.DataFrame, origin: str) -> str:
    """A pipe table, and below it what the intervals are and where it comes from."""
    return "\n\n".join([pipes(table), *_notes(table, origin)]) + "\n"


def pipes(table: pd.DataFrame) -> str:
    """The table for people in Markdown, without a word around it."""
    texts = for_people(table)
    marks = ["--:" if _is_number(table[name]) else ":--" for name in texts.columns]
    cells = _marked(texts.map(lambda text: text.replace("|", r"\|")), best(table), "**{}**")
    cells = _greyed(table, cells, "*{}*")
    rows = [list(texts.columns), marks, *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def latex(table: pd.DataFrame, origin: str) -> str:
    r"""A ``tabular`` that needs the booktabs package, with a rule between models.

    A table that is wider than a page comes in parts below one another, which begin with the columns
    that tell its rows apart. The graphicx package then shrinks what is still too wide to the line.
    """
    texts = for_people(table)
    parts = [_tabular(table, texts, part) for part in _parts(texts)]
    packages = "booktabs" + ",xcolor" * bool(_printed(table).any())
    if len(parts) > 1:
        packages += ",graphicx"
        # As wide as the line where it would be wider.
        width = r"\ifdim\width>\linewidth\linewidth\else\width\fi"
        start = rf"\resizebox{{{width}}}{{!}}{{%"
        parts = [f"{start}\n{part.rstrip()}%\n}}\n" for part in parts]
    notes = (*_notes(table, origin), rf"Needs \usepackage{{{packages}}}.")
    said = "".join(f"% {note}\n" for note in notes)
    return said + "\\par\\medskip\\noindent\n".join(parts)


def _parts(texts: pd.DataFrame) -> list[list[int]]:
    """The places of the columns that stand side by side on a page, from left to right."""
    telling = (n for n in range(1, texts.shape[1]) if not texts.iloc[:, :n].duplicated().any())
    n_key = next(telling, 1)
    longest = [max(map(len, [name, *texts[name]])) for name in texts.columns]
    widths = [n + _GAP_CHARACTERS for n in longest]
    room = PAGE_CHARACTERS - sum(widths[:n_key])
    parts: list[list[int]] = [[]]
    for place in range(n_key, len(widths)):
        if parts[-1] and sum(widths[i] for i in [*parts[-1], place]) > room:
            parts.append([])
        parts[-1].append(place)
    return [[*range(n_key), *part] for part in parts]


def _tabular(table: pd.DataFrame, texts: pd.DataFrame, part: list[int]) -> str:
    """Some columns of a table, by their places in the texts for people."""
    shown = texts.iloc[:, part]
    rows = _marked(shown.map(_in_tex), best(table).iloc[:, part], r"\textbf{{{}}}")
    rows = _greyed(table, rows, r"\textcolor{{gray}}{{{}}}")
    shape = "".join("r" if _is_number(table[name]) else "l" for name in shown.columns)
    lines = [rf"\begin{{tabular}}{{{shape}}}", r"\toprule"]
    for starts, row in zip(
        [False, *_starts(table)], [map(_in_tex, map(str, shown)), *rows], strict=True
    ):
        lines += [r"\midrule"] * starts + [" & ".join(row) + r" \\"]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def page(table: pd.DataFrame, title: str, origin: str) -> str:
    """A self-contained HTML page, as Snakemake's report shows it."""
    return tables_page(title, [as_table(table, title)], notes=_notes(table, origin))


def as_table(table: pd.DataFrame, caption: str) -> Table:
    """The table for people, for a page of HTML."""
    texts, marks = for_people(table), best(table)
    classes = ["number" if _is_number(table[name]) else None for name in texts.columns]
    head = []
    for name, number in zip(texts.columns, classes, strict=True):
        # What a column is, for those who point at its head.
        said = ", ".join(filter(None, (_said(table, name, what) for what in ("meaning", "unit"))))
        head.append(Cell(name.replace("_", " "), {"class": number, "title": said or None}))
    rows = []
    looks = zip(_starts(table), _printed(table), strict=True)
    for (starts, printed), words, marked in zip(
        looks, texts.to_numpy().tolist(), marks.to_numpy().tolist(), strict=True
    ):
        cells = [
            Cell(word, {"class": " ".join(filter(None, (number, "best" * mark))) or None})
            for word, number, mark in zip(words, classes, marked, strict=True)
        ]
        kinds = " ".join(filter(None, ("group" * starts, "published" * printed)))
        rows.append(Row(cells, {"class": kinds or None}))
    return Table(caption, head, rows)


def _said(table: pd.DataFrame, name: str, what: str) -> str:
    """What a table says of a column: its ``unit``, ``meaning``, ``form`` or ``best``."""
    return str(table.attrs.get("columns", {}).get(name, {}).get(what, ""))


def _form(table: pd.DataFrame, name: str) -> Callable[[Any], str]:
    """How a column's numbers are rounded."""
    values = table[name]
    if not _is_number(values) or pd.api.types.is_integer_dtype(values):
        return str
    form = _said(table, name, "form") or form_of(name)
    # Settings and counts are short as they are; zeros behind them would feign a measurement.
    if not form and all(float(f"{value:.3g}") == value for value in values.dropna()):
        return lambda value: f"{value:.6g}"
    return _FORMS[form or "measured"]


def _three_digits(value: float) -> str:
    decimals = sum(abs(value) < limit for limit in (100, 10, 1))
    return f"{value:.{decimals}f}"


#: Of :data:`harness.analysis.columns.FORMS`, how a number is written.
_FORMS: Mapping[str, Callable[[Any], str]] = {
    "measured": lambda value: f"{value:z.3f}",
    "signed": lambda value: f"{value:+z.3f}" if value else "0.000",
    "p_value": lambda value: "<0.001" if value < 0.001 else f"{value:.3f}",
    "three_digits": _three_digits,
    # Printed shares have two digits or more: further ones would be feigned.
    "as_printed": lambda value: max(
        f"{value:.6g}", f"{value:.2f}" if abs(value) <= 1 else "", key=len
    ),
}


def _beside(text: str, value: float, low: float, high: float, is_time: bool) -> str:
    """A value's text and its interval: bounds of times as times, all others to two decimals."""
    if text == _MISSING or low == value == high:
        return text
    sign = "+" if text[0] in "+-" else ""
    bounds = []
    for bound in (low, high):
        rounded = _three_digits(bound) if is_time else f"{bound:{sign}.2f}"
        # Whether an interval excludes 0 has to survive rounding.
        if bound and not is_time and not float(rounded):
            rounded = f"{bound:{sign}.1g}"
        bounds.append(_MISSING if pd.isna(bound) else rounded)
    return f"{text} [{', '.join(bounds)}]"


def _compared(text: str, difference: float, within: Any) -> str:
    """A published number, how far ours is above it, and whether our interval holds it."""
    if text == _MISSING:
        return text
    inside = "" if pd.isna(within) else ", inside" if within else ", outside"
    above = f"{difference:+z.3f}" if abs(difference) < 1 else f"{difference:+.3g}"
    return f"{text} ({above}{inside})"


def _is_number(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _printed(table: pd.DataFrame) -> pd.Series[bool]:
    """Which rows are only published."""
    sources = table.get(published.SOURCE_COLUMN, pd.Series("", index=table.index))
    return sources == published.PRINTED


def _greyed(table: pd.DataFrame, rows: list[list[str]], form: str) -> list[list[str]]:
    """Rows of words, those that are only published in a form that holds ``{}``."""
    pairs = zip(rows, _printed(table), strict=True)
    return [[form.format(word) if grey and word else word for word in row] for row, grey in pairs]


def _starts(table: pd.DataFrame) -> list[bool]:
    """Whether a row is the first one of its value in the first column, or the first that is only
    published."""
    first = table.iloc[:, 0].mask(_printed(table), "")
    return [bool(changes) for changes in first.ne(first.shift())]


def _notes(table: pd.DataFrame, origin: str) -> list[str]:
    said = {
        table.attrs.get("intervals", _INTERVALS): any(
            str(name).endswith(CI_LOW) for name in table.columns
        ),
        _CORRECTED: any(str(name).startswith("p_holm") for name in table.columns),
        _UNCORRECTED: "p_holm" in table
        and any(f"gain_{str(name).removesuffix('_mean')}" in table for name in table.columns),
        BEST: any(_said(table, name, "best") for name in table.columns),
    }
    common = (note for note, holds in said.items() if holds)
    first, own = (table.attrs.get(name, ()) for name in (FIRST_NOTES, "notes"))
    return [*first, *common, *own, origin]


def describe(job: TableJob, record: Mapping[str, Any] | None = None) -> str:
    """Where something comes from, in a line: what, commit, machine, versions.

    Args:
        record: its provenance (:mod:`harness.results.provenance`); of something that is made now
            without.

    Raises:
        KeyError, TypeError: the record is none that this harness wrote.
    """
    now = {"hardware": provenance.hardware(), "packages": provenance.packages()}
    told = record or {**provenance.commit(), **now}
    hardware, packages = told["hardware"], told["packages"]
    state = " with uncommitted changes" if told["dirty"] else ""
    return (
        f"{job.table.name}, version {job.table.version}; commit {told['commit'][:12]}{state}; "
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB; "
        f"torch {packages['torch']}, diffusers {packages['diffusers']}."
    )


def _in_tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def _marked(texts: pd.DataFrame, marks: pd.DataFrame, form: str) -> list[list[str]]:
    """The rows of texts, the marked ones in a form that holds ``{}``."""
    pairs = zip(texts.to_numpy().tolist(), marks.to_numpy().tolist(), strict=True)
    return [
        [form.format(text) if mark else text for text, mark in zip(*row, strict=True)]
        for row in pairs
    ]
