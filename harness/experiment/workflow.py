"""What the Snakefile needs beyond rules: the experiment, launching, checks, faults in words."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NoReturn, TypeVar

from harness.base.errors import SpecError
from harness.base.import_strings import source_of
from harness.base.locks import Busy, acquired
from harness.experiment.checks import check, check_columns, check_given, check_tables
from harness.experiment.component_files import declared
from harness.experiment.components import TableSpec
from harness.experiment.config import read
from harness.experiment.config_files import extended, load_yaml, sources
from harness.experiment.identity import identity_of
from harness.experiment.pins import FOLDER, STAND_INS
from harness.experiment.places import fields, ours, whole
from harness.experiment.plan import Experiment, Run
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.experiment.validation import to_json
from hypernoise.errors import Mendable, unknown_word
from hypernoise.weights.pins import COMMIT, is_remote

_T = TypeVar("_T")

#: In a source: the modules that get published files and repositories, or an address of weights.
_FETCHES = re.compile(r"\bdata_files\b|\bweights\.hub\b|\"(hf|https)://")
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


def open_experiment(
    config: dict[str, Any],
    files: Iterable[str],
    given: Mapping[str, Any] = MappingProxyType({}),
    workflows: Path = FOLDER,
    components: Iterable[Path] = (),
) -> Experiment:
    """The experiment of a config, checked.

    Args:
        config: what Snakemake read; gets the keys of the config that it extends, because
            Snakemake's report shows this very dictionary.
        files: of the config, the last one last.
        given: keys of the command line's ``--config``, which are blamed on it.
        workflows: folder of the component files.
        components: folders of further ones, after those that the config names.

    Raises:
        SpecError: a component or the config is wrong.
    """
    paths = [Path(file) for file in files]
    here = [p.relative_to(Path.cwd()) if p.is_relative_to(Path.cwd()) else p for p in paths]
    # Snakemake merges files; which one extends another, and has a key twice, only they can say.
    contents = dict(zip(here, map(load_yaml, here), strict=True))
    extending = [path.parent for path in here if "extends" in contents[path]]
    whole = extended(config, extending[-1] if extending else here[-1].parent)
    config.clear()
    config.update(whole)
    said = f"--config {', '.join(given)}"
    name = ", ".join([*map(str, here), *([said] if given else [])])
    blamed = {**sources(contents), **dict.fromkeys(given, said)}
    checked_config = read(whole, name, blamed)
    folders = [*map(Path, checked_config.components), *components]
    experiment = Experiment(checked_config, declared(workflows, *folders), name)
    if os.environ.get(STAND_INS) and not experiment.config.rehearsal:
        raise SpecError(f"{name}: {STAND_INS} is set, which is for rehearsals only: unset it")
    check(experiment)
    check_tables(experiment)
    return experiment


def nearest_target(targets: Callable[[], Iterable[str]]) -> Callable[[logging.LogRecord], bool]:
    """A filter of Snakemake's log: where it has no rule for a name, the nearest one is told."""

    def filter_(record: logging.LogRecord) -> bool:
        found = re.search(r"No rule to produce ([\w-]+)(?=[\s.]|$)(?!\.\w)", record.getMessage())
        if found:
            text = unknown_word("target", found[1], targets())
            record.msg, record.args = f"{record.getMessage()}\n{text}", ()
        return True

    return filter_


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

    def job(
        self, rule: str, cut: Callable[[Any, Any], Any] = lambda job, wildcards: job
    ) -> dict[str, Callable[..., str]]:
        """The params of a rule: its job as JSON, and what the result depends on.

        Args:
            cut: makes of a job and wildcards the job of a shard, or of joining shards.
        """
        verb = rule.removesuffix("_network")
        return params(verb, lambda w: cut(getattr(self.planned, rule)(**whole(fields(w))), w))

    def files(self, function: str) -> Callable[[Any], Any]:
        """An input function: the files that a method of :class:`Planned` names."""
        return lambda w: insist(getattr(self.planned, function), **fields(w))

    def needs_of(self, wildcards: Any) -> list[str]:
        """What a run of the wildcards needs."""
        return insist(self.planned.needs_of, Run(**whole(fields(wildcards))))

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
        return lambda w: insist(self._inputs, self._table(spec, w))

    @staticmethod
    def _inputs(table: Table) -> dict[str, list[str]]:
        check_columns(table)
        check_given(table)
        return table.inputs()

    def table(self, spec: TableSpec) -> dict[str, Callable[..., str]]:
        """The params of a table's rule: its job, and the first model that it is about."""
        own = params("table", lambda w: self._table(spec, w).job())
        return own | {"model": lambda w: insist(lambda: self._table(spec, w).models[0])}

    def wanted(self) -> list[str]:
        """The files of the tables and groups that the config names."""
        tables, groups = self.experiment.tables, self.groups()
        return [
            file
            for name in self.experiment.config.tables
            for file in (groups[name] if name in groups else self._files(tables[name]))
        ]

    def _files(self, table: TableSpec) -> list[str]:
        each = self.experiment.each_of(table)
        return [file.format(model=model) for model in each for file in outputs(table).values()]

    def tables(self) -> dict[str, TableSpec]:
        """Rule -> the table that it makes: the declared ones, and one of scores for each image set
        that has the name of none. A table with the name of its group leaves that to the group."""
        tables, groups = self.experiment.tables, self.groups()
        found = {name + ("_table" if name in groups else ""): t for name, t in tables.items()}
        of_sets = set(self.experiment.config.image_sets) - {*tables, *groups}
        return found | {name: set_table(tables["sweep"], name) for name in sorted(of_sets)}

    def groups(self) -> dict[str, list[str]]:
        """Group -> files of its tables."""
        found: dict[str, list[str]] = {}
        for table in self.experiment.tables.values():
            if table.group:
                found.setdefault(table.group, []).extend(self._files(table))
        return found

    def say_answer(self, jobs: Iterable[Any]) -> None:
        """After a run that made a table or figure: print the answer, write the first page."""
        if any(verb == "table" for verb, _ in ours(jobs)):
            subprocess.run([sys.executable, "-m", "harness", "summary"], check=False)

    def check_ahead(self, jobs: Iterable[Any]) -> None:
        """Check every job before the first one starts, as far as it needs no other's results."""
        if fault := self._faults(self._ahead(jobs)):
            refuse(fault)

    def at_end_of_dry_run(self, workflow: Any) -> Callable[[logging.LogRecord], bool]:
        """A filter of Snakemake's log: at the end of a dry run it says what a run would stop at.

        Jobs that need nothing but what ships with this project are left to the run: a dry run of
        them takes two seconds, and the check imports torch. --no-hooks leaves it out, too.
        """
        ahead: list[tuple[str, str]] = []

        def filter_(record: logging.LogRecord) -> bool:
            if workflow.dryrun and not ahead and str(getattr(record, "event", "")) == "run_info":
                # Later all jobs count as done.
                ahead.extend(self._ahead(workflow.dag.needrun_jobs()))
            is_end = ahead and record.getMessage().startswith("This was a dry-run")
            is_end = is_end and not workflow.execution_settings.no_hooks
            # The overlap is of all prompts that the config names, those of other targets too.
            jobs = (job for verb, job in ahead if verb != "overlap")
            if is_end and any(map(needs_more_than_ships, jobs)):
                print(self._faults(ahead), file=sys.stderr)
            return True

        return filter_

    def _ahead(self, jobs: Iterable[Any]) -> list[tuple[str, str]]:
        """Verb and job of everything that can be checked, and of the check of overlaps."""
        found = list(ours(jobs))
        pending = [(verb, job.params.job) for verb, job in found]
        return [*pending, ("overlap", to_json(self._overlap(found)))] if found else []

    def _faults(self, pending: list[tuple[str, str]]) -> str:
        """What is wrong with some jobs, a line for each fault; empty if nothing is."""
        if not pending:
            return ""
        lines = "".join(f"{verb}\t{job}\n" for verb, job in pending)
        print(f"Checking {len(pending)} jobs before the first one starts...", file=sys.stderr)
        processes = str(self.experiment.config.processes)
        command = [sys.executable, "-m", "harness", "preflight", "--processes", processes]
        done = subprocess.run(command, input=lines, stderr=subprocess.PIPE, text=True, check=False)
        return done.stderr.strip() if done.returncode else ""

    def _overlap(self, jobs: Iterable[tuple[str, Any]]) -> Any:
        """The check that none of these jobs' networks is evaluated on what it was trained on."""
        found = [(verb, whole(fields(job.wildcards))) for verb, job in jobs]
        runs = [Run(**given) for verb, given in found if verb == "generate"]
        trained = [tuple(given.values()) for verb, given in found if verb == "train"]
        trains = {run.method for run in runs if self.experiment.declared(run.method).trains}
        trained += [(r.model, r.reward, r.method) for r in runs if r.method in trains]
        return self.planned.overlap(trained, runs)


def needs_more_than_ships(job: str) -> bool:
    """Whether a job, as JSON, may need what is not in this project: weights of the hub or the web,
    published data, or code of somebody else's."""
    texts = list(_texts(json.loads(job)))
    is_far = any(is_remote(text) or COMMIT.fullmatch(text) for text in texts)
    return is_far or any(not _ships(text) for text in texts if re.fullmatch(r"[\w.]+:\w+", text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


@cache
def _ships(target: str) -> bool:
    """Whether a target needs nothing but this project: what reads published files or repositories
    says so in its source, for it gets them from one module each."""
    module = target.partition(":")[0]
    source = source_of(module) if module.partition(".")[0] in ("harness", "hypernoise") else None
    return source is not None and not _FETCHES.search(source.read_text(encoding="utf-8"))


def params(verb: str, make: Callable[[Any], Any]) -> dict[str, Callable[..., str]]:
    """The params of a rule whose job, which is a verb's, a function makes of wildcards.

    Snakemake does something again where params have changed. It leaves out of that comparison what
    a function makes of outputs, and so verb and job; the identity says what matters of them.
    """

    def identity(wildcards: Any) -> str:
        return json.dumps(identity_of(insist(make, wildcards)), sort_keys=True)

    def job(wildcards: Any, output: Any) -> str:
        return to_json(insist(make, wildcards))

    return {"identity": identity, "job": job, "verb": lambda wildcards, output: verb}


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
        # A caption lies beside the folder of its table's declaration.
        folder = Path(table.file).absolute().parents[1] / "report"
        text = folder / f"{table.caption or table.name}.rst"
        first = next(iter(found))
        found[first] = report(
            found[first],
            caption=str(text) if text.is_file() else None,
            category=table.category or _HEADINGS[table.makes],
            labels={"what": table.label, **({"model": "{model}"} if table.per_model else {})},
        )
    return found


#: The open file of a folder that this process holds. What ``onstart`` names ends with it.
_held: list[IO[str]] = []


def hold_alone() -> IO[str]:
    """Keep other runs out of this folder for as long as this process lives, or the file is open.

    Snakemake's own lock outlives a killed run and has to be removed by hand; this one does not.
    """
    try:
        Path("results").mkdir(exist_ok=True)
        lock = acquired(Path("results/.lock"))
    except Busy as busy:
        who = busy.who or "it has not said which yet"
        refuse(f"another run is at work in this folder ({who}); wait for it, or stop it")
    except Mendable as error:
        refuse(error)
    except OSError as error:
        leads = f", a link to {os.readlink('results')}," if Path("results").is_symlink() else ""
        refuse(f"the folder results{leads} cannot be made or written in: {error.strerror}")
    _held[:] = [lock]
    return lock
