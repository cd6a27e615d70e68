"""What the Snakefile needs beyond rules: the experiment, launching, checks, faults in words."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

import yaml

from harness.base.errors import SpecError
from harness.experiment.checks import check, check_tables
from harness.experiment.component_files import declared
from harness.experiment.components import TableSpec
from harness.experiment.config import extended, read
from harness.experiment.identity import identity_of
from harness.experiment.places import fields
from harness.experiment.plan import Experiment, Run
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.experiment.validation import to_json

_T = TypeVar("_T")

COMPONENTS = Path("workflows")
#: Rule -> verb of its job; those of tables have the tables' names.
_VERBS = {
    **{verb: verb for verb in ("train", "match", "generate", "score", "pairs", "profile")},
    "audit_network": "audit",
    "pretrain_generator": "pretrain",
    "pretrain_matcher": "pretrain",
}
_HEADINGS = {"table": "Tables", "figure": "Figures", "page": "Provenance"}


def refuse(fault: object) -> NoReturn:
    """Stop before any job, with one line: for a WorkflowError, Snakemake would list the files that
    it went through."""
    raise SystemExit(f"error: {str(fault).removeprefix('error: ')}")


def insist(function: Callable[..., _T], *arguments: Any, **keywords: Any) -> _T:
    """Call a function; a SpecError that it raises stops the workflow with one line."""
    try:
        return function(*arguments, **keywords)
    except SpecError as error:
        refuse(error)


def open_experiment(config: dict[str, Any], files: Iterable[str]) -> Experiment:
    """The experiment of a config, checked.

    Args:
        config: what Snakemake read; gets the keys of the config that it extends, because
            Snakemake's report shows this very dictionary.
        files: of the config, the last one last.

    Raises:
        SpecError: a component or the config is wrong.
    """
    paths = [Path(file) for file in files]
    whole = extended(config, paths[-1].parent, load_yaml)
    config.clear()
    config.update(whole)
    here = [
        path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path for path in paths
    ]
    name = ", ".join(map(str, here))
    experiment = Experiment(read(whole, name), declared(COMPONENTS), name)
    check(experiment)
    check_tables(experiment)
    return experiment


def load_yaml(file: Path) -> Any:
    """The content of a YAML file."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


class Rules:
    """What rules ask for, by their wildcards; faults stop the workflow with one line."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.planned = Planned(experiment)

    @property
    def gpus(self) -> int:
        """GPUs that one job asks for."""
        asked = self.experiment.config.gpus
        return int(shutil.which("nvidia-smi") is not None) if asked == "auto" else asked

    def launcher(self, wildcards: Any, output: Any) -> str:
        """How a training is started in the config's number of processes.

        It takes the outputs so that Snakemake does not train again in another number of them.
        """
        n_processes = self.experiment.config.processes
        if n_processes == 1:
            return "python"
        return f"torchrun --standalone --nproc-per-node {n_processes}"

    def methods(self) -> str:
        """A pattern for methods in paths, whatever arguments they have."""
        return rf"(?:{'|'.join(self.experiment.registry.methods)})(?:\+[^/]+)?"

    def job(self, rule: str) -> dict[str, Callable[..., str]]:
        """The params of a rule: its job as JSON, and what the result depends on."""
        return params(lambda w: getattr(self.planned, rule)(**fields(w)))

    def files(self, function: str) -> Callable[[Any], Any]:
        """An input function: the files that a method of :class:`Planned` names."""
        return lambda w: insist(getattr(self.planned, function), **fields(w))

    def needs_of(self, wildcards: Any) -> list[str]:
        """What a run of the wildcards needs."""
        return insist(self.planned.needs_of, Run(**fields(wildcards)))

    def trainings(self) -> dict[str, Callable[[Any], str]]:
        """The input functions of the rule that matches a fine-tuning to a noise network."""
        match = self.planned.match
        return {
            "finetune": lambda w: insist(match, **fields(w)).finetune,
            "hypernoise": lambda w: insist(match, **fields(w)).hypernoise,
        }

    def _table(self, spec: TableSpec, wildcards: Any) -> Table:
        return Table(self.experiment, spec, getattr(wildcards, "model", ""))

    def frames(self, spec: TableSpec) -> Callable[[Any], dict[str, list[str]]]:
        """The input function of a table's rule."""
        return lambda w: insist(self._table(spec, w).inputs)

    def table(self, spec: TableSpec) -> dict[str, Callable[..., str]]:
        """The params of a table's rule: its job, and the first model that it is about."""
        own = params(lambda w: self._table(spec, w).job())
        return own | {"model": lambda w: insist(lambda: self._table(spec, w).models[0])}

    def wanted(self) -> list[str]:
        """The files of the tables and groups that the config names."""
        tables, groups = self.experiment.registry.tables, self.groups()
        return [
            file
            for name in self.experiment.config.tables
            for file in (groups[name] if name in groups else self._files(tables[name]))
        ]

    def _files(self, table: TableSpec) -> list[str]:
        models = self.experiment.config.models if table.per_model else ("",)
        return [file.format(model=model) for model in models for file in outputs(table).values()]

    def tables(self) -> dict[str, TableSpec]:
        """Rule -> the table that it makes: the declared ones, and one of scores for each image set
        that has the name of none. A table with the name of its group leaves that to the group."""
        tables, groups = self.experiment.registry.tables, self.groups()
        found = {name + ("_table" if name in groups else ""): t for name, t in tables.items()}
        of_sets = set(self.experiment.config.image_sets) - {*tables, *groups}
        return found | {name: set_table(tables["sweep"], name) for name in sorted(of_sets)}

    def groups(self) -> dict[str, list[str]]:
        """Group -> files of its tables."""
        found: dict[str, list[str]] = {}
        for table in self.experiment.registry.tables.values():
            if table.group:
                found.setdefault(table.group, []).extend(self._files(table))
        return found

    def check_ahead(self, jobs: Iterable[Any]) -> None:
        """Check every job before the first one starts, as far as it needs no other's results."""
        ahead = [job for job in jobs if hasattr(job.params, "job")]
        if not ahead:
            return
        pending = [(_VERBS.get(job.rule.name, "table"), job.params.job) for job in ahead]
        pending.append(("overlap", to_json(self._overlap(ahead))))
        lines = "".join(f"{verb}\t{job}\n" for verb, job in pending)
        print(f"Checking {len(pending)} jobs before the first one starts...", file=sys.stderr)
        processes = str(self.experiment.config.processes)
        command = [sys.executable, "-m", "harness", "preflight", "--processes", processes]
        done = subprocess.run(command, input=lines, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            refuse(done.stderr.strip())

    def _overlap(self, jobs: Iterable[Any]) -> Any:
        """The check that none of these jobs' networks is evaluated on what it was trained on."""
        rules = ("generate", "train")
        found = [(j.rule.name, fields(j.wildcards)) for j in jobs if j.rule.name in rules]
        runs = [Run(**given) for rule, given in found if rule == "generate"]
        trained = [tuple(given.values()) for rule, given in found if rule == "train"]
        trains = {run.method for run in runs if self.experiment.declared(run.method).trains}
        trained += [(r.model, r.reward, r.method) for r in runs if r.method in trains]
        return self.planned.overlap(trained, runs)


def params(make: Callable[[Any], Any]) -> dict[str, Callable[..., str]]:
    """The params of a rule whose job a function makes of wildcards.

    Snakemake does something again where params have changed. It leaves out of that comparison what
    a function makes of outputs, and so the job; the identity says what matters of it.
    """

    def identity(wildcards: Any) -> str:
        return json.dumps(identity_of(insist(make, wildcards)), sort_keys=True)

    def job(wildcards: Any, output: Any) -> str:
        return to_json(insist(make, wildcards))

    return {"identity": identity, "job": job}


def set_table(sweep: TableSpec, image_set: str) -> TableSpec:
    """The table of the scores of an image set."""
    return replace(sweep, name=image_set, sets=(image_set,))


def outputs(table: TableSpec) -> dict[str, str]:
    """The files of a table, figure, gallery or page by kind; the report shows the first."""
    stem = table.stem
    if table.makes == "figure":
        return {"png": f"{stem}.png", "pdf": f"{stem}.pdf"}
    if table.makes == "page":
        return {"html": f"{stem}.html"}
    if table.makes == "gallery":
        folder = str(Path(stem).parent)
        return {
            "page": f"{stem}.html",
            "provenance": f"{folder}/provenance.json",
            "images": f"{folder}/images",
        }
    kinds = ("html", "csv", "md", "tex", "parquet")
    return {**{kind: f"{stem}.{kind}" for kind in kinds}, "rows": f"{stem}.rows.parquet"}


def rule_outputs(
    table: TableSpec, report: Callable[..., Any], directory: Callable[[str], Any]
) -> dict[str, Any]:
    """The outputs of a table's rule, marked with Snakemake's ``report`` and ``directory``.

    The report shows the first file of a table that has a label, under a heading and with the text
    of ``workflows/report``.
    """
    found: dict[str, Any] = dict(outputs(table))
    if "images" in found:
        found["images"] = directory(found["images"])
    if table.label:
        text = f"{table.caption or table.name}.rst"
        first = next(iter(found))
        found[first] = report(
            found[first],
            caption=f"../report/{text}" if (COMPONENTS / "report" / text).is_file() else None,
            category=table.category or _HEADINGS[table.makes],
            labels={"what": table.label, **({"model": "{model}"} if table.per_model else {})},
        )
    return found


def hold_alone() -> IO[str]:
    """Keep other runs out of this folder for as long as the file that this gives stays open.

    Snakemake's own lock outlives a killed run and has to be removed by hand; the system's does not.
    """
    Path("results").mkdir(exist_ok=True)
    lock = open("results/.lock", "w", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        refuse("another run is at work in this folder; wait for it, or stop it")
    return lock


def faults(snakemake_logs: Iterable[str]) -> str:
    """What the failed jobs' own logs say last: Snakemake's account of a failure hides it."""
    account = "".join(Path(file).read_text(encoding="utf-8") for file in snakemake_logs)
    named = re.findall(r"log: (\S+) \(check log", account)
    logs = [Path(file) for file in dict.fromkeys(named) if Path(file).is_file()]
    lines = {file: file.read_text(encoding="utf-8").strip().splitlines() for file in logs}
    # An error is not always the last line: launchers of several processes add their own account.
    said = {
        file: next((line for line in reversed(found) if line.startswith("error: ")), found[-1])
        for file, found in lines.items()
        if found
    }
    return "\n".join(f"{file}: {line}" for file, line in said.items())
