"""What a config asks for, checked against the declared components, as jobs.

Snakemake builds one :class:`Experiment` on every call, so nothing heavy is imported here. File
names are the workflow's business: jobs are given theirs. Threads are too, and go on the command
line: a job that gets more of them is the same job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.base.errors import SpecError, unknown
from harness.base.signatures import check_call
from harness.experiment import image_sets
from harness.experiment.component_files import method_variant
from harness.experiment.components import (
    RANK_INFIX,
    WEIGHT_ARGUMENTS,
    ComparisonSpec,
    MethodSpec,
    PromptsSpec,
    Registry,
    RewardSpec,
)
from harness.experiment.identity import speed_arguments
from harness.experiment.image_sets import (
    COMPARE,
    CONTROLS,
    DIVERSITY,
    REGULARISATION,
    Selection,
)
from harness.experiment.jobs import (
    AuditJob,
    GenerateJob,
    OverlapJob,
    PairsJob,
    PretrainJob,
    ScoreJob,
    Timed,
    TimingJob,
    TrainJob,
)
from hypernoise.training.kinds import kind_of
from hypernoise.weights.pins import HASH_MARK, is_remote

#: In layered sections: the layer that applies everywhere.
DEFAULT = "default"
#: Stands for the reward in the paths of methods that use none.
NO_REWARD = "none"
_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".txt")
#: Score of the reward that methods are trained on or search
#: (:data:`harness.results.frames.METRICS`).
TRAIN_METRIC = "train_reward"


class Run(NamedTuple):
    """What identifies the images that one job generates."""

    benchmark: str
    model: str
    method: str
    reward: str
    steps: int


@dataclass(frozen=True)
class Experiment:
    """A config and the components that it draws on.

    Attributes:
        config: has passed :func:`harness.experiment.config.check_schema`.
        registry: every declared component.
        file: the config file(s), for messages.
    """

    config: Mapping[str, Any]
    registry: Registry
    file: str

    def check(self) -> None:
        """Check every name in the config but those of tables, and every target and argument.

        Raises:
            SpecError: names the file, the word and the nearest valid one.
        """
        registry, config = self.registry, self.config
        registry.check_rewards()
        self._check_names()
        self._check_controls()
        self._check_diversity()
        self._check_selections("sweep", config["sweeps"])
        self._check_selections("selection", image_sets.given(config))
        self._known(registry.methods, "method in audit", config["audit"]["methods"])
        pretrain = config["pretrain"]
        self._known(registry.models, "model in pretrain", pretrain["generators"])
        self._known(registry.rewards, "reward in pretrain", pretrain["matchers"])
        for text in config["latency"]["methods"] if "latency" in config else ():
            method_variant(registry, text, self.file)
        self._check_matching()
        self._check_searches()
        self._check_audited()
        for section in ("training", "arguments", "prompts"):
            self._check_layers(section)
        self._check_arguments()
        self._check_swept()
        self._check_prompts()

    def _check_names(self) -> None:
        registry, config = self.registry, self.config
        self._known(registry.models, "model", config["models"])
        self._known(registry.methods, "method", config["methods"])
        self._known(registry.benchmarks, "benchmark", [config["benchmark"]])
        self._known(registry.rewards, "reward", [config["reward"], *config["judges"].values()])
        self._known(registry.models, "model in steps", config["steps"])
        self._known(registry.benchmarks, "benchmark in timing", [config["timing"]["benchmark"]])
        compare = config["compare"]
        self._known(registry.benchmarks, "benchmark in compare", [compare["benchmark"]])
        self._known(registry.methods, "method in compare", compare["methods"])

    def _check_controls(self) -> None:
        registry, controls = self.registry, self.config.get(CONTROLS)
        if controls:
            for key in ("methods", "swapped_methods"):
                self._known(registry.methods, "method in controls", controls[key])
            self._known(registry.rewards, "reward in controls", [controls["swapped_reward"]])

    def _check_diversity(self) -> None:
        registry, diversity = self.registry, self.config.get(DIVERSITY)
        if diversity:
            benchmark, models = diversity["benchmark"], diversity.get("models", ())
            self._known(registry.benchmarks, "benchmark in diversity", [benchmark])
            self._known(registry.methods, "method in diversity", diversity["methods"])
            self._known(registry.models, "model in diversity", models)
            for comparison in diversity["comparisons"].values():
                self._check_target(comparison)

    def _check_selections(self, what: str, chosen: Mapping[str, Any]) -> None:
        """Check sweeps or selections, which differ in their names only."""
        registry = self.registry
        taken = {
            **dict.fromkeys(registry.benchmarks, "a benchmark"),
            **dict.fromkeys(self.config["sweeps"] if what == "selection" else (), "a sweep"),
            **dict.fromkeys((COMPARE, CONTROLS, DIVERSITY), "a section of the config"),
        }
        for name, own in chosen.items():
            if name in taken:
                raise SpecError(f"{self.file}: {what} {name!r} has the name of {taken[name]}")
            where = f"of {what} {name}:"
            self._known(registry.benchmarks, f"benchmark {where}", [own["benchmark"]])
            self._known(registry.methods, f"method {where}", own["methods"])
            self._known(registry.models, f"model {where}", own.get("models", ()))
            self._known(registry.rewards, f"reward {where}", [own.get("reward", self._reward)])

    @property
    def _reward(self) -> str:
        return str(self.config["reward"])

    def check_tables(self) -> None:
        """Check the names of tables, and the selections that they need; raises as :meth:`check`.

        A table's file holds its rule, which draws on the rest of the config: so the rest is checked
        before that file is read, and the names of tables after it.
        """
        self._known(self.registry.tables, "table", self.config["tables"])
        for table in self.config["tables"]:
            for name in self.registry.tables[table].selections:
                self.check_selection(name, table)

    def check_selection(self, name: str, table: str) -> None:
        """Check that the config has a selection that a table needs; raises as :meth:`check`."""
        self._known(dict.fromkeys(self.selections()), f"selection that {table} needs:", [name])

    def _known(self, specs: Mapping[str, Any], what: str, names: Iterable[str]) -> None:
        for name in names:
            if name not in specs:
                raise unknown(what, name, specs, self.file)

    def _check_matching(self) -> None:
        for model, reward, training in self.trainings():
            options = self.options(model, reward, training)
            validated, kept = options["validate_every"], options["checkpoint_every"]
            if self.registry.methods[training].state == "matched" and kept % validated:
                raise SpecError(
                    f"{self.file}: {training} on {model} has a checkpoint every {kept} steps, but "
                    f"is validated every {validated}; only a validated checkpoint can be matched"
                )

    def check_checkpoint(self, run: Run) -> None:
        """Check that a run's training makes the checkpoint that its method uses, if it names one.

        For the images that are asked for alone: a shorter training is no fault of the others.

        Raises:
            SpecError: it does not.
        """
        step = self.registry.methods[run.method].checkpoint
        if step is None:
            return
        options = self.options(run.model, run.reward, run.method)
        every, end = options["checkpoint_every"], options["steps"]
        if step > end or (step % every and step != end):
            raise SpecError(
                f"{self.file}: {run.method} uses step {step} of a training that on {run.model} "
                f"has a checkpoint every {every} steps, up to step {end}"
            )

    def _check_searches(self) -> None:
        for method in self.registry.methods.values():
            if not method.search:
                continue
            self._known(self.registry.methods, f"search of method {method.name}:", [method.search])
            search = self.registry.methods[method.search]
            if search.trains or search.search or search.needs_reward != method.needs_reward:
                raise SpecError(
                    f"{method.file}: {method.name!r} goes on with {search.name!r}, which must be a "
                    "plain search: it trains nothing, has no search of its own, and needs_reward "
                    f"is the same, here {method.needs_reward}"
                )

    def _check_audited(self) -> None:
        methods = self.config["audit"]["methods"]
        for name in set(methods) - set(self.moving_noise(methods)):
            raise SpecError(
                f"{self.file}: method {name!r} in audit trains no network that moves noise"
            )

    def _check_layers(self, section: str) -> None:
        registry = self.registry
        valid = {DEFAULT, *registry.models, *registry.rewards, *registry.methods}
        for key in self.config[section]:
            self._known(dict.fromkeys(valid), f"name in config section {section!r}:", key.split())

    def _check_arguments(self) -> None:
        for key, given in self.config["arguments"].items():
            named = [name for name in key.split() if name in self.registry.methods]
            if len(named) != 1:
                raise SpecError(
                    f"{self.file}: {key!r} in config section 'arguments' must name one method, "
                    "and may name a model or a reward besides, as in 'tiny_sd reno'"
                )
            where = f"method {named[0]!r} in config section 'arguments'"
            target = self.registry.methods[named[0]].target
            check_call(target, given, file=self.file, what=f"argument of {where}:", where=where)

    def _check_swept(self) -> None:
        """A parameter that no method of a sweep is given would be an empty column."""
        for name, sweep in self.config["sweeps"].items():
            given = {key: None for m in sweep["methods"] for key in self.method(m).arguments}
            swept = [sweep["parameter"]] if "parameter" in sweep else []
            self._known(given, f"parameter of sweep {name}:", swept)

    def _check_prompts(self) -> None:
        layers = [*self.config["prompts"].values(), {"audit": self.config["audit"]["prompts"]}]
        for given in layers:
            for prompts in given.values():
                self._check_target(prompts)

    def _check_target(self, called: Mapping[str, Any]) -> None:
        target = called["target"]
        check_call(target, called["arguments"], file=self.file, what=f"argument of {target}:")

    def _layered(self, section: str, *names: str) -> dict[str, Any]:
        # A layer whose key names more is the more special one; of two that name equally many,
        # the later in the file wins.
        layers = self.config[section].items()
        fitting = [(k, v) for k, v in layers if k == DEFAULT or set(k.split()) <= set(names)]
        ordered = sorted(fitting, key=lambda layer: (layer[0] != DEFAULT, len(layer[0].split())))
        return {name: value for _, layer in ordered for name, value in layer.items()}

    def method(self, name: str, model: str = "", reward: str = "") -> MethodSpec:
        """A method with the arguments that the config gives it for a model and a reward."""
        spec = self.registry.methods[name]
        given = self._layered("arguments", name, model, reward)
        searcher = self.method(spec.search, model, reward) if spec.search else None
        return replace(spec, arguments={**spec.arguments, **given}, searcher=searcher)

    def steps(self, model: str) -> int:
        """A model's sampling steps."""
        return int(self.config["steps"].get(model, self.registry.models[model].steps))

    def options(self, model: str, reward: str, method: str) -> dict[str, Any]:
        """A method's training options, those that its kind of network knows."""
        kind = self.registry.methods[method].trains
        if kind is None:
            return {}
        return kind_of(kind).known(self._layered("training", model, reward, method, kind))

    def training(self, model: str, reward: str, method: str) -> str:
        """The method under whose name a method's network is trained: the first that trains alike.

        Methods that share kind and options differ in what they do with the network only, so it is
        trained once.
        """
        kind = self.registry.methods[method].trains
        alike = (
            name
            for name, spec in self.registry.methods.items()
            if kind is not None
            and spec.trains == kind
            and self.options(model, reward, name) == self.options(model, reward, method)
        )
        return next(alike)

    def noise_training(self, model: str, reward: str) -> str:
        """The training that "matched" methods are matched to."""
        trained = (name for name, m in self.registry.methods.items() if m.trains == "hypernoise")
        return self.training(model, reward, next(trained))

    def trainings(self) -> list[tuple[str, str, str]]:
        """(model, reward, training) of everything that ``methods`` need for ``models``."""
        reward = self.config["reward"]
        wanted = [
            (model, reward, self.training(model, reward, method))
            for model in self.config["models"]
            for method in self.config["methods"]
            if self.registry.methods[method].trains
        ]
        return list(dict.fromkeys(wanted))

    def uses_reward(self, method: str) -> bool:
        """Whether a method asks a reward while it generates, or was trained on one."""
        spec = self.registry.methods[method]
        return spec.needs_reward or spec.trains is not None

    def selection(self, name: str) -> Selection:
        """The images behind a table (:func:`harness.experiment.image_sets.selection`)."""
        return image_sets.selection(self.config, name, self.file)

    def selections(self) -> list[str]:
        """Names of all selections."""
        return image_sets.names(self.config)

    def selected_models(self, selection: str) -> list[str]:
        """The models of a selection, in its order."""
        return list(self.selection(selection).models or self.config["models"])

    def shown(self, selections: Sequence[str], model: str) -> dict[str, list[int]]:
        """Method -> its sampling steps, in all images of a model in some selections."""
        found: dict[str, set[int]] = {}
        for selection in selections:
            for run in self.runs(selection, model):
                found.setdefault(run.method, set()).add(run.steps)
        return {method: sorted(steps) for method, steps in found.items()}

    def family(self, methods: Iterable[str], kind: str) -> list[str]:
        """Of some methods the base and those that use the end of a training of one kind."""
        specs = [self.registry.methods[name] for name in methods]
        trained = [m.name for m in specs if m.trains == kind and _is_end(m)]
        return [*(m.name for m in specs if m.trains is None), *trained]

    def moving_noise(self, methods: Iterable[str]) -> list[str]:
        """Of some methods those that train a network which moves noise."""
        trains = {name: self.registry.methods[name].trains for name in methods}
        return [name for name, kind in trains.items() if kind not in (None, "lora_finetune")]

    def ranks(self, model: str, methods: Iterable[str]) -> dict[str, int]:
        """Method -> LoRA rank of what is trained for it; only methods that train something.

        Raises:
            SpecError: a method is named after another rank than it is trained with.
        """
        trained = [name for name in methods if self.registry.methods[name].trains]
        options = {name: self.options(model, self._reward, name) for name in trained}
        ranks = {name: int(given["rank"]) for name, given in options.items() if "rank" in given}
        for name, rank in ranks.items():
            _, is_variant, named = name.partition(RANK_INFIX)
            if is_variant and named != str(rank):
                raise SpecError(
                    f"{self.file}: {name} on {model} would be trained with rank {rank}; give it "
                    "its own in config section 'training', under its name"
                )
        return ranks

    def warm_starts(self) -> dict[str, str]:
        """Of the compared methods, those that start a compared search warm -> that search."""
        compared = self.config["compare"]["methods"]
        pairs = {name: self.registry.methods[name].search for name in compared}
        return {warm: cold for warm, cold in pairs.items() if cold in compared}

    def settings(self, selection: str) -> dict[str, str]:
        """Method of a selection -> its arguments in words, by model where models differ."""
        models, reward = self.selected_models(selection), self._reward
        found = {}
        for name in self.selection(selection).methods:
            words = [_in_words(self.method(name, model, reward)) for model in models]
            alike = len(set(words)) == 1
            own = [f"{model} {text}".strip() for model, text in zip(models, words, strict=True)]
            found[name] = words[0] if alike else "; ".join(own)
        return found

    def runs(self, selection: str, model: str) -> list[Run]:
        """The images of a selection that one model makes."""
        chosen = self.selection(selection)
        asked = [(m, chosen.reward or self._reward) for m in chosen.methods]
        asked += [(m, chosen.swapped_reward) for m in chosen.swapped_methods]
        return [
            Run(chosen.benchmark, model, m, reward if self.uses_reward(m) else NO_REWARD, steps)
            for m, reward in asked
            for steps in chosen.steps or (self.steps(model),)
        ]

    def regularisations(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Model -> method of the sweep of regularisations that trains -> what tells it from the
        others: the training that it draws on, and of that the checkpoint, None for the kept one;
        for noise networks reduction and temperature of the L2 term besides."""
        chosen = self.selection(REGULARISATION).methods
        trained = [name for name in chosen if self.registry.methods[name].trains]
        return {
            model: {name: self._regularisation(model, name) for name in trained}
            for model in self.selected_models(REGULARISATION)
        }

    def _regularisation(self, model: str, method: str) -> dict[str, Any]:
        reward, spec = self._reward, self.registry.methods[method]
        if spec.state == "matched":
            raise SpecError(
                f"{self.file}: {method!r} in selection {REGULARISATION!r} is matched by its "
                "reward, so its steps are known only after training; name a checkpoint, as in "
                "'lora_finetune_step_40'"
            )
        training = self.training(model, reward, method)
        found: dict[str, Any] = {"training": training, "checkpoint": spec.checkpoint}
        if spec.trains != "hypernoise":
            return found
        options = self.options(model, reward, method)
        for name in ("l2_reduction", "temperature"):
            if name not in options:
                raise SpecError(
                    f"{self.file}: config section 'training' gives {method!r} on {model} no "
                    f"{name}, which tells it from the others of selection {REGULARISATION!r}"
                )
            found[name] = options[name]
        return found

    def weight_files(self, *names: str) -> list[str]:
        """Local weight files of models and rewards; at least one for each that has local weights.

        A missing folder or file stays in the list, so that Snakemake reports it.
        """
        registry = self.registry
        models = [registry.models[name] for name in names if name in registry.models]
        places = [model.weights for model in models if model.is_local]
        rewards = [registry.reward(name) for name in names if name in registry.rewards]
        for single in (s for reward in rewards for s in reward.singles() if not s.is_random):
            named = [str(single.arguments.get(name, "")) for name in WEIGHT_ARGUMENTS]
            places += [_pinned_place(text) for text in named if text]
        return [file for place in places if place for file in _local_files(place)]

    def metrics(self, selection: str = "") -> dict[str, str]:
        """Metric -> reward: the config's judges, and its own or a selection's reward as
        ``train_reward``; of a selection with a swapped reward that one too, under its own name."""
        chosen = self.selection(selection) if selection else Selection("", ())
        measured = {**self.config["judges"], TRAIN_METRIC: chosen.reward or self._reward}
        return measured | {name: name for name in (chosen.swapped_reward,) if name}

    def judges(self, reward: str) -> dict[str, RewardSpec]:
        """What training on a reward is watched by besides that reward."""
        named = sorted(self.metrics().items())
        return {metric: self.registry.reward(name) for metric, name in named if name != reward}

    def train_job(self, model: str, reward: str, training: str, *, out: str, work: str) -> TrainJob:
        """Train a method's network."""
        prompts = self._layered("prompts", model, reward, training)
        return TrainJob(
            model=self.registry.models[model],
            method=self.method(training, model, reward),
            reward=self.registry.reward(reward),
            extra_rewards=self.judges(reward),
            train_prompts=PromptsSpec(**prompts["train"]),
            validation_prompts=PromptsSpec(**prompts["validation"]),
            validation_images=self.config["validation_images"],
            options=self.options(model, reward, training),
            out=out,
            work=work,
        )

    def audit_job(
        self, model: str, reward: str, method: str, training: str, *, out: str, work: str
    ) -> AuditJob:
        """Measure the KL terms that a method's training dropped; ``training`` is its folder."""
        given = self.config["audit"]
        return AuditJob(
            model=self.registry.models[model],
            method=self.method(method, model, reward),
            reward=reward,
            training=training,
            prompts=PromptsSpec(**given["prompts"]),
            n_images=given["n_images"],
            seed=self.config["seed"],
            checkpoints=given["checkpoints"],
            options=given["options"],
            precision=given["precision"],
            out=out,
            work=work,
        )

    def temperatures(self, models: Iterable[str], methods: Iterable[str]) -> dict[str, Any]:
        """Model -> audited method -> (temperature, L2 reduction) of its training, if given."""
        audited = list(methods)
        options = {m: {t: self.options(m, self._reward, t) for t in audited} for m in models}
        return {
            model: {
                method: (given["temperature"], given.get("l2_reduction", "sum"))
                for method, given in of_model.items()
                if "temperature" in given
            }
            for model, of_model in options.items()
        }

    def overlap_job(
        self, trainings: Iterable[tuple[str, str, str]], benchmarks: Iterable[str]
    ) -> OverlapJob:
        """Check that no prompt of some trainings (model, reward, training) is in a benchmark."""
        trained: dict[str, PromptsSpec] = {}
        watched: dict[str, PromptsSpec] = {}
        choosing: dict[str, PromptsSpec] = {}
        for names in sorted(trainings):
            prompts, said = self._layered("prompts", *names), " ".join(names)
            _add_first(trained, f"training {said}", prompts["train"])
            if self._is_chosen(*names):
                name = f"validation that chooses the checkpoint of {said}"
                _add_first(choosing, name, prompts["validation"])
            else:
                _add_first(watched, f"validation of {said}", prompts["validation"])
        found = {name: self.registry.benchmarks[name].prompts for name in sorted(set(benchmarks))}
        return OverlapJob(trained, found, watched | choosing)

    def _is_chosen(self, model: str, reward: str, method: str) -> bool:
        """Whether validation prompts say which checkpoint of a training a method uses."""
        options, spec = self.options(model, reward, method), self.registry.methods[method]
        return spec.state == "matched" or (_is_end(spec) and options.get("keep") == "best")

    def generate_job(self, run: Run, adapter: str | None, *, out: str, work: str) -> GenerateJob:
        """Generate images."""
        return GenerateJob(
            model=self.registry.models[run.model],
            method=self.method(run.method, run.model, run.reward),
            reward=None if run.reward == NO_REWARD else self.registry.reward(run.reward),
            benchmark=self.registry.benchmarks[run.benchmark],
            steps=run.steps,
            seed=self.config["seed"],
            batch_size=self.config["batch_size"],
            adapter=adapter,
            out=out,
            work=work,
        )

    def score_job(self, selection: str, images: Sequence[str], *, out: str) -> ScoreJob:
        """Score the images of a selection."""
        return ScoreJob(
            benchmark=self.registry.benchmarks[self.selection(selection).benchmark],
            rewards={m: self.registry.reward(n) for m, n in self.metrics(selection).items()},
            images=tuple(images),
            out=out,
            swap=self.config["controls"]["prompt_swap"] if selection == CONTROLS else "",
            seed=self.config["seed"],
        )

    def pairs_job(self, images: Sequence[str], *, out: str) -> PairsJob:
        """Compare images in pairs; raises SpecError where the config does not say how."""
        comparisons = image_sets.section(self.config, DIVERSITY, self.file)["comparisons"]
        specs = {metric: ComparisonSpec(**given) for metric, given in comparisons.items()}
        return PairsJob(comparisons=specs, images=tuple(images), out=out)

    def timed_batch_size(self, selection: str) -> int:
        """Images that one timed call of a selection's methods makes."""
        own = self.config["compare"] if selection == COMPARE else {}
        return int({**self.config["timing"], **own}["batch_size"])

    def profile_job(
        self, selection: str, model: str, adapters: Mapping[str, str | None], *, out: str
    ) -> TimingJob:
        """Time the methods of a selection, each with its adapter, against one another."""
        timing, reward = self.config["timing"], self.config["reward"]
        size = self.timed_batch_size(selection)
        return TimingJob(
            model=self.registry.models[model],
            methods=tuple(Timed(self.method(m, model, reward), a) for m, a in adapters.items()),
            benchmark=self.registry.benchmarks[timing["benchmark"]],
            out=out,
            reward=self.registry.reward(reward),
            # Nothing shows single images of COMPARE, and those of long searches take minutes.
            batch_sizes=(size,) if selection == COMPARE else tuple(sorted({1, size})),
            sampling_steps=(self.steps(model),),
            repeats=timing["repeats"],
            operations=False,
            peak_memory=selection == COMPARE,
            threads=timing["threads"],
        )

    def latency_job(self, model: str, *, out: str) -> TimingJob:
        """Time the config's latency methods, as declared and as their names say, untrained."""
        given, registry = self.config["latency"], self.registry
        methods = [method_variant(registry, text, self.file) for text in given["methods"]]
        return TimingJob(
            model=registry.models[model],
            methods=tuple(Timed(method) for method in methods),
            benchmark=registry.benchmarks[self.config["timing"]["benchmark"]],
            out=out,
            reward=registry.reward(self.config["reward"]),
            batch_sizes=tuple(given["batch_sizes"]),
            modes=tuple(given["modes"]),
            repeats=given["repeats"],
            rank=given["rank"],
            threads=self.config["timing"]["threads"],
        )

    def pretrain_job(self, name: str, *, out: str, made: str = "") -> PretrainJob:
        """Make the weights of one of the embedded world's generators or matchers.

        Args:
            name: of the model or reward; its recipe has the same name.
            made: for a matcher, the folder with the generators whose images it learns from.
        """
        given = self.config["pretrain"]
        models = self.registry.models
        teachers = given["generators"] if name in given["matchers"] else []
        return PretrainJob(
            kind="matcher" if teachers else "generator",
            recipe=name,
            out=out,
            changes=given["changes"].get(name, {}),
            models=tuple(replace(models[t], weights=f"{made}/{t}") for t in teachers),
        )


def _is_end(method: MethodSpec) -> bool:
    """Whether a method uses what its training ends with."""
    return method.state == "final" and method.checkpoint is None


def _in_words(method: MethodSpec) -> str:
    """What an author would say of a method's settings; how it is computed is left out."""
    if method.searcher is not None:
        return f"then {method.searcher.name}"
    fast = speed_arguments(method.target)
    given = {k: v for k, v in method.arguments.items() if k not in fast}
    return ", ".join(f"{name} {value}" for name, value in given.items())


def _add_first(found: dict[str, PromptsSpec], name: str, given: Mapping[str, Any]) -> None:
    """Add prompts under a name, unless they are there: most trainings share theirs."""
    spec = PromptsSpec(**given)
    if spec not in found.values():
        found[name] = spec


def _pinned_place(text: str) -> str:
    """The place on this machine that a reward's weights name, or "" where they are elsewhere."""
    place = text.partition(HASH_MARK)[0]
    # A hub name has one slash; what has more of them can only be a local place.
    shaped = Path(place).suffix in _WEIGHT_SUFFIXES or place.count("/") > 1
    return place if not is_remote(place) and (shaped or Path(place).is_dir()) else ""


def _local_files(place: str) -> list[str]:
    path = Path(place)
    if path.is_dir():
        kinds = ("*.json", "*.safetensors")
        found = sorted(str(file) for kind in kinds for file in path.rglob(kind))
        return list(dict.fromkeys([str(path / "model_index.json"), *found]))
    return [place if path.suffix else str(path / "model_index.json")]
