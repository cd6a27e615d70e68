"""The jobs of an experiment and what each waits for, without Snakemake and without any file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from harness.experiment.plan import Experiment, Run
from harness.experiment.providers import Table


class Job(NamedTuple):
    """A job: its rule, and what identifies it among the rule's.

    ``model`` and the rest are empty where a rule has none; ``what`` is a training, a method, an
    image set or a table.
    """

    rule: str
    what: str
    model: str = ""
    reward: str = ""
    benchmark: str = ""
    steps: int = 0


class JobGraph:
    """Every job that the tables of a config need; jobs that tables share are there once.

    Attributes:
        needs: job -> the jobs that it waits for, in an order in which they can be done.
        tables: name of a table -> its jobs, those that it waits for before it.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.needs: dict[Job, tuple[Job, ...]] = {}
        self.tables: dict[str, list[Job]] = {}
        for spec in experiment.asked():
            each = experiment.each_of(spec)
            last = [self._add_table(Table(experiment, spec, model)) for model in each]
            self.tables[spec.name] = list(self._closed(last))

    def _closed(self, jobs: Iterable[Job], seen: set[Job] | None = None) -> Iterator[Job]:
        seen = set() if seen is None else seen
        for job in jobs:
            if job not in seen:
                seen.add(job)
                yield from self._closed(self.needs[job], seen)
                yield job

    def _add(self, job: Job, needs: Iterable[Job] = ()) -> Job:
        if job not in self.needs:
            # What it waits for is there already.
            self.needs[job] = tuple(dict.fromkeys(needs))
        return job

    def _add_table(self, table: Table) -> Job:
        kinds, needs = set(table.inputs()), []
        for name, model in table.named:
            of_images = bool(kinds & {"images", "trajectories", "scores", "pairs", "distances"})
            planned = self.experiment.runs(name, model) if of_images else ()
            runs = [self._generate(run) for run in planned]
            needs += runs if kinds & {"images", "trajectories"} else []
            for kind, rule in (("scores", "score"), ("pairs", "pairs")):
                if kind in kinds:
                    needs.append(self._add(Job(rule, name, model), runs))
            if "distances" in kinds:
                others = map(self._generate, self.experiment.reference_runs(name, model))
                needs.append(self._add(Job("fidelity_of_images", name, model), [*runs, *others]))
            if "timings" in kinds:
                needs.append(self._profile(name, model))
        if "training" in kinds:
            for each in table.spec.sets:
                needs += [self._train(*names) for names in self.experiment.trainings(each)]
        if "audits" in kinds:
            reward = table.first.reward
            for model in table.models:
                for method in self.experiment.moving_noise(table.first.methods):
                    for network in self.experiment.networks(model, reward, method):
                        trained = self._of_method(model, reward, network)
                        needs.append(self._add(Job("audit", network, model, reward), trained))
        return self._add(Job("table", table.spec.name, table.only), needs)

    def _profile(self, name: str, model: str) -> Job:
        timing, needs = self.experiment.timing(name), []
        if not timing.untrained_rank:
            for run in self.experiment.runs(name, model):
                needs += self._of_method(run.model, run.reward, run.method)
        return self._add(Job("profile", name, model), needs)

    def _generate(self, run: Run) -> Job:
        job = Job("generate", run.method, run.model, run.reward, run.benchmark, run.steps)
        return self._add(job, self._of_method(run.model, run.reward, run.method))

    def _of_method(self, model: str, reward: str, method: str) -> list[Job]:
        """The training that a method draws on, and what picks its checkpoint."""
        experiment = self.experiment
        spec = experiment.declared(method)
        if spec.trains is None:
            return []
        trained = self._train(model, reward, experiment.training(model, reward, method))
        if spec.state != "matched" or experiment.parts(method).checkpoint is not None:
            return [trained]
        seed = int(experiment.training_seed(model, reward, method) or 0)
        noise = self._train(model, reward, experiment.noise_training(model, reward, seed))
        return [self._add(Job("match", method, model, reward), [trained, noise])]

    def _train(self, model: str, reward: str, training: str) -> Job:
        return self._add(Job("train", training, model, reward))
