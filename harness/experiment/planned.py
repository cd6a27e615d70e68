"""The job of every rule, and the files that it needs before it can start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.experiment.components import WEIGHT_ARGUMENTS, ModelSpec, PromptsSpec, SimilaritySpec
from harness.experiment.fidelity_job import FidelityJob
from harness.experiment.jobs import (
    AuditJob,
    GenerateJob,
    MatchJob,
    OverlapJob,
    PairsJob,
    PretrainJob,
    ScoreJob,
    Timed,
    TimingJob,
    TrainJob,
)
from harness.experiment.places import (
    AUDITS,
    DISTANCES,
    MATCHED,
    PAIRS,
    SCORES,
    TIMINGS,
    TRACKED,
    TRAINING,
    WORK,
    frame_of,
    place,
)
from harness.experiment.plan import NO_REWARD, Experiment, Run, prompts_of
from harness.experiment.weight_files import given_images, method_files
from hypernoise.weights.pins import HASH_MARK, is_remote, located

_MODEL_FILES = ("*.json", "*.safetensors")
_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".txt")


@dataclass(frozen=True)
class Planned:
    """The jobs of an experiment; methods are named after rules, arguments after wildcards."""

    experiment: Experiment

    def train(self, model: str, reward: str, training: str) -> TrainJob:
        """Train a method's network."""
        experiment = self.experiment
        prompts = experiment.prompts(model, reward, training)
        return TrainJob(
            model=experiment.registry.models[model],
            method=experiment.method(training, model, reward),
            reward=experiment.registry.reward(reward),
            extra_rewards=experiment.judges(reward),
            train_prompts=prompts["train"],
            validation_prompts=prompts["validation"],
            validation_images=experiment.config.validation_images,
            options=experiment.options(model, reward, training),
            out=place(TRAINING, model=model, reward=reward, training=training),
            work=_work("training", model=model, reward=reward, training=training),
            trackers=dict.fromkeys(
                experiment.config.trackers,
                place(TRACKED, model=model, reward=reward, training=training),
            ),
        )

    def training_of(self, model: str, reward: str, method: str) -> str:
        """The folder of the training that a method draws on."""
        training = self.experiment.training(model, reward, method)
        return place(TRAINING, model=model, reward=reward, training=training)

    def match(self, model: str, reward: str, method: str) -> MatchJob:
        """Pick the checkpoint of a matched method."""
        seed = self.experiment.training_seed(model, reward, method)
        noise = self.experiment.noise_training(model, reward, int(seed or 0))
        return MatchJob(
            finetune=self.training_of(model, reward, method),
            hypernoise=place(TRAINING, model=model, reward=reward, training=noise),
            reward=reward,
            out=place(MATCHED, model=model, reward=reward, method=method),
        )

    def audit_network(self, model: str, reward: str, method: str) -> AuditJob:
        """Measure the KL terms that a method's training dropped."""
        experiment, given = self.experiment, self.experiment.config.audit
        return AuditJob(
            model=experiment.registry.models[model],
            method=experiment.method(method, model, reward),
            reward=reward,
            training=self.training_of(model, reward, method),
            prompts=prompts_of(given.prompts),
            n_images=given.n_images,
            seed=experiment.config.seed,
            checkpoints=given.checkpoints,
            options=given.options.model_dump(exclude_unset=True),
            precision=given.precision,
            out=place(AUDITS, model=model, reward=reward, method=method),
            work=_work("audits", model=model, reward=reward, method=method),
        )

    def adapter_of(self, run: Run) -> str | None:
        """The folder of the trained network that a run needs, or None.

        Raises:
            SpecError: its training does not make the checkpoint that it uses.
        """
        spec = self.experiment.method(run.method, run.model, run.reward)
        if spec.trains is None:
            return None
        self.experiment.check_checkpoint(run)
        if spec.state == "matched":
            return place(MATCHED, model=run.model, reward=run.reward, method=run.method)
        return self.training_of(run.model, run.reward, run.method)

    def needs_of(self, run: Run) -> list[str]:
        """Local weights of a run's model, of its method and of the reward that it searches, and its
        network."""
        searches = self.experiment.declared(run.method).needs_reward
        adapter = self.adapter_of(run)
        weights = self.weights(run.model, *([run.reward] if searches else []))
        own = method_files(self.experiment.method(run.method, run.model, run.reward))
        return weights + own + ([adapter] if adapter else [])

    def generate(self, **fields: Any) -> GenerateJob:
        """Generate a run's images."""
        experiment, run = self.experiment, Run(**fields)
        return GenerateJob(
            model=experiment.registry.models[run.model],
            method=experiment.method(run.method, run.model, run.reward),
            reward=None if run.reward == NO_REWARD else experiment.registry.reward(run.reward),
            benchmark=experiment.registry.benchmarks[run.benchmark],
            steps=run.steps,
            seed=experiment.config.seed,
            batch_size=experiment.config.batch_size,
            adapter=self.adapter_of(run),
            out=frame_of(run),
            work=_work("images", **run._asdict()),
        )

    def images(self, image_set: str, model: str) -> list[str]:
        """The image frames of a set that one model makes."""
        return [frame_of(run) for run in self.experiment.runs(image_set, model)]

    def score(self, image_set: str, model: str) -> ScoreJob:
        """Score the images of a set."""
        experiment = self.experiment
        chosen, registry = experiment.image_set(image_set), experiment.registry
        metrics = experiment.metrics(image_set)
        return ScoreJob(
            benchmark=registry.benchmarks[chosen.benchmark],
            rewards={metric: registry.reward(name) for metric, name in metrics.items()},
            images=tuple(self.images(image_set, model)),
            out=place(SCORES, image_set=image_set, model=model),
            swap=chosen.swapped.prompts if chosen.swapped else "",
            seed=experiment.config.seed,
        )

    def pairs(self, image_set: str, model: str) -> PairsJob:
        """Compare the images of a set in pairs."""
        given = self.experiment.config.similarities
        return PairsJob(
            comparisons={m: SimilaritySpec(**called.model_dump()) for m, called in given.items()},
            images=tuple(self.images(image_set, model)),
            out=place(PAIRS, image_set=image_set, model=model),
        )

    def fidelity(self, image_set: str, model: str) -> FidelityJob:
        """Measure how far the images of a set are from the base's own."""
        experiment, given = self.experiment, self.experiment.config
        reference = experiment.reference_runs(image_set, model)
        return FidelityJob(
            features={n: SimilaritySpec(**c.model_dump()) for n, c in given.features.items()},
            images=tuple(self.images(image_set, model)),
            reference=tuple(map(frame_of, reference)),
            reference_images=given.reference_images,
            out=place(DISTANCES, image_set=image_set, model=model),
            work=f"{WORK}/features",
        )

    def compared(self, image_set: str, model: str) -> list[str]:
        """The image frames of a set, and those that they are compared with."""
        job = self.fidelity(image_set, model)
        folder = [job.reference_images] if job.reference_images else []
        return list(dict.fromkeys([*job.images, *job.reference, *folder]))

    def profile(self, image_set: str, model: str) -> TimingJob:
        """Time the methods of a set against one another."""
        experiment, timing = self.experiment, self.experiment.timing(image_set)
        rank = timing.untrained_rank
        runs = self._timed_runs(image_set, model)
        chosen = experiment.image_set(image_set)
        reward, steps = chosen.reward, chosen.steps
        return TimingJob(
            model=experiment.registry.models[model],
            methods=tuple(
                Timed(
                    replace(spec, training_seed=None) if rank else spec,
                    None if rank else self.adapter_of(run),
                )
                for run in runs
                for spec in [experiment.method(run.method, model, reward)]
            ),
            benchmark=experiment.registry.benchmarks[timing.benchmark],
            out=place(TIMINGS, image_set=image_set, model=model),
            reward=experiment.registry.reward(reward),
            batch_sizes=timing.batch_sizes,
            # A set with several is timed as its model is used.
            sampling_steps=steps if len(steps) == 1 else (experiment.steps(model),),
            modes=timing.modes or (),
            repeats=timing.repeats,
            rank=rank or 8,
            operations=bool(timing.operations),
            peak_memory=bool(timing.peak_memory),
            threads=timing.threads,
        )

    def timed(self, image_set: str, model: str) -> list[str]:
        """What timing a set needs: networks where they are trained, and weights."""
        if not self.experiment.timing(image_set).untrained_rank:
            runs = self._timed_runs(image_set, model)
            return list(dict.fromkeys(file for run in runs for file in self.needs_of(run)))
        searched = self.profile(image_set, model).searched
        return self.weights(model, *([searched.name] if searched else []))

    def _timed_runs(self, image_set: str, model: str) -> list[Run]:
        """A run of each method: networks of all training seeds take the same time, so the smallest
        seed's is timed."""
        found: dict[str, Run] = {}
        for run in self.experiment.runs(image_set, model):
            # Nobody knows how long another tool took.
            if not given_images(self.experiment.declared(run.method)):
                found.setdefault(self.experiment.shown_as(run.method), run)
        return list(found.values())

    def taught_by(self, reward: str) -> list[str]:
        """The generators whose images one of the embedded world's rewards is trained on."""
        return [model.weights for model in self._teachers(reward)]

    def _teachers(self, reward: str) -> tuple[ModelSpec, ...]:
        given, models = self.experiment.config.pretrain, self.experiment.registry.models
        names = given.generators if reward in given.matchers else ()
        return tuple(replace(models[name], weights=f"{given.folder}/{name}") for name in names)

    def pretrain(self, model: str = "", reward: str = "") -> PretrainJob:
        """Make the weights of one of the embedded world's generators (``model``), matchers or
        judges (``reward``); its recipe has the same name."""
        name = model or reward
        given, teachers = self.experiment.config.pretrain, self._teachers(reward)
        return PretrainJob(
            kind="generator" if model else "matcher" if teachers else "judge",
            recipe=name,
            out=f"{given.folder}/{name}{'.safetensors' if reward else ''}",
            changes=given.changes.get(name, {}),
            models=teachers,
        )

    def overlap(
        self, trainings: Iterable[tuple[str, str, str]], runs: Iterable[Run] = ()
    ) -> OverlapJob:
        """Check that no network is evaluated on prompts that it was trained on.

        Args:
            trainings: (model, reward, training, or a method that draws on it). Each is compared
                with the benchmarks that any image set makes images for by its network, and with
                the config's own if none does: a network may learn from prompts that others are
                measured on.
            runs: images that count too, though no image set has them.
        """
        experiment, made = self.experiment, self._evaluations(runs)
        trained: dict[str, PromptsSpec] = {}
        watched: dict[str, PromptsSpec] = {}
        choosing: dict[str, PromptsSpec] = {}
        measured: dict[str, set[str]] = defaultdict(set)
        for names in sorted(trainings):
            prompts, said = experiment.prompts(*names), " ".join(names)
            own = made.get((*names[:2], experiment.training(*names)), {experiment.config.benchmark})
            listed = watched, f"validation of {said}"
            if self._is_chosen(*names):
                listed = choosing, f"validation that chooses the checkpoint of {said}"
            measured[_add_first(trained, f"training {said}", prompts["train"])] |= own
            measured[_add_first(*listed, prompts["validation"])] |= own
        declared, used = experiment.registry.benchmarks, set().union(*measured.values())
        return OverlapJob(
            trainings=trained,
            benchmarks={name: declared[name].prompts for name in sorted(used)},
            validations=watched | choosing,
            measured={name: tuple(sorted(found)) for name, found in measured.items()},
        )

    def _evaluations(self, runs: Iterable[Run]) -> Mapping[tuple[str, str, str], set[str]]:
        """(model, reward, training) -> the benchmarks that its network makes images for, in some
        runs and in all image sets."""
        experiment = self.experiment
        sets = experiment.image_sets.items()
        planned = (r for name, each in sets for m in each.models for r in experiment.runs(name, m))
        found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for run in dict.fromkeys([*planned, *runs]):
            if experiment.declared(run.method).trains:
                training = experiment.training(run.model, run.reward, run.method)
                found[run.model, run.reward, training].add(run.benchmark)
        return found

    def _is_chosen(self, model: str, reward: str, method: str) -> bool:
        """Whether validation prompts say which checkpoint of a training a method uses."""
        if self.experiment.method(method).state == "matched":
            return True
        best = self.experiment.options(model, reward, method).get("keep") == "best"
        return best and self.experiment.uses_end(method)

    def trained_by(self, model: str, reward: str, training: str) -> list[str]:
        """Local weights that a training reads, those of its judges too."""
        return self.weights(model, reward, *self.experiment.metrics().values())

    def scored_by(self, image_set: str, model: str) -> list[str]:
        """Local weights of all rewards that a set is scored with."""
        return self.weights(*self.experiment.metrics(image_set).values())

    def weights(self, *names: str) -> list[str]:
        """Local weight files of models and rewards; at least one for each that has local weights.

        A missing folder or file stays in the list, so that Snakemake reports it.
        """
        registry = self.experiment.registry
        models = [registry.models[name] for name in names if name in registry.models]
        places = [model.weights for model in models if model.is_local]
        rewards = [registry.reward(name) for name in names if name in registry.rewards]
        for single in (s for reward in rewards for s in reward.singles() if not s.is_random):
            for name in WEIGHT_ARGUMENTS:
                given = str(single.arguments.get(name, "")).partition(HASH_MARK)[0]
                # A hub name has one slash; what has more of them can only be a local place.
                shaped = Path(given).suffix in _WEIGHT_SUFFIXES or given.count("/") > 1
                if given and not is_remote(given) and (shaped or located(given).is_dir()):
                    places.append(given)
        files: list[str] = []
        for named in filter(None, places):
            path = located(named)
            index = str(path / "model_index.json")
            if path.is_dir():
                found = sorted(str(f) for kind in _MODEL_FILES for f in path.rglob(kind))
                files += dict.fromkeys([index, *found])
            else:
                files.append(str(path) if path.suffix else index)
        return files


def _work(stage: str, **fields: Any) -> str:
    return place("/".join([WORK, stage, *(f"{{{name}}}" for name in fields)]), **fields)


def _add_first(found: dict[str, PromptsSpec], name: str, spec: PromptsSpec) -> str:
    """Add prompts under a name, unless they are there under another one, and return that: most
    trainings share theirs."""
    first = next((there for there, listed in found.items() if listed == spec), name)
    found.setdefault(first, spec)
    return first
