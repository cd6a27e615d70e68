"""Methods: checked without a generator, and put together with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.base.errors import SpecError, prefix, retold
from harness.base.import_strings import resolve
from harness.base.signatures import check_call
from harness.build.rewards import check_gradient
from harness.experiment.components import MethodSpec, ModelSpec, RewardSpec
from harness.results.training_folder import checkpoints_of
from hypernoise.methods.protocol import Checked, Method, PutsIn
from hypernoise.models.protocol import Generator
from hypernoise.training.kinds import kind_of
from hypernoise.weights.folders import check_file

if TYPE_CHECKING:
    from hypernoise.networks.protocol import Trainable


def check_method(spec: MethodSpec, reward: RewardSpec | None) -> None:
    """Check a method's arguments, those of its search, and that it has a reward if it needs one.

    Its trained network may be yet to come.

    Raises:
        SpecError: the target does not take an argument or refuses its value; or the method has no
            reward and searches or was trained on one, or the other way round; or it searches along
            a gradient that its reward does not have.
        FileNotFoundError: a file that an argument names is missing.
    """
    uses_reward = spec.needs_reward or spec.trains is not None
    if uses_reward and reward is None:
        raise SpecError(f"method {spec.name!r} needs a reward")
    if not uses_reward and reward is not None:
        raise SpecError(f"method {spec.name!r} uses no reward, but got {reward.name!r}")
    check_arguments(spec)
    if reward is not None:
        check_search(spec, reward)
    searching = spec.searcher or spec
    if searching.trains is None:
        method = resolve(searching.target)(**searching.arguments)
        if isinstance(method, Checked):
            method.check()


def check_arguments(spec: MethodSpec) -> None:
    """Check a method's arguments and those of its search; raises as :func:`check_method`."""
    where = f"method {spec.name!r}, with the config's arguments"
    check_call(spec.target, spec.arguments, file=spec.file, where=where)
    if spec.searcher is not None:
        check_arguments(spec.searcher)
    elif spec.trains is None:
        try:
            resolve(spec.target)(**spec.arguments)
        except (TypeError, ValueError) as error:
            raise SpecError(f"{prefix(spec.file)}{where}: {error}") from error


def check_search(spec: MethodSpec, reward: RewardSpec) -> None:
    """Check that a reward has the gradient that a method's search follows, if it follows one.

    Raises:
        SpecError: it does not.
    """
    searching = spec.searcher or spec
    if getattr(resolve(searching.target), "follows_gradient", False):
        check_gradient(reward, f"method {spec.name!r}")


def build_method(spec: MethodSpec, generator: Generator, adapter: str | None) -> Method:
    """A method, with its trained network attached to the generator's backbone if it has one.

    Raises: as :func:`check_method` and :func:`check_adapter`.
    """
    check_adapter(spec, adapter)
    check_arguments(spec)
    if spec.trains is None:
        return _assembled(spec, generator, None)
    folder = _adapter_folder(spec, Path(adapter or ""))
    return _assembled(spec, generator, kind_of(spec.trains).load(generator, folder))


class Untrained(NamedTuple):
    """A method, and the parameters of its untrained network."""

    method: Method
    n_parameters: int


def build_untrained_method(spec: MethodSpec, generator: Generator, rank: int) -> Untrained:
    """A method whose network, if it has one, is not trained: it costs what a trained one costs."""
    check_arguments(spec)
    if spec.trains is None:
        return Untrained(_assembled(spec, generator, None), 0)
    kind = kind_of(spec.trains)
    options = kind.checked(kind.known({"steps": 1, "rank": rank, "alpha": float(rank)}))
    fresh = kind.build(generator, options)
    # A method may use its network up.
    n_parameters = fresh.n_parameters
    return Untrained(_assembled(spec, generator, fresh), n_parameters)


def _assembled(spec: MethodSpec, generator: Generator, trained: Trainable | None) -> Method:
    arguments = dict(spec.arguments)
    if spec.searcher is not None:
        arguments["search"] = build_method(spec.searcher, generator, None)
    factory = resolve(spec.target)
    method: Method = factory(**arguments) if trained is None else factory(trained, **arguments)
    if isinstance(method, PutsIn):
        method.attach(generator)
    return method


def puts_in(spec: MethodSpec) -> bool:
    """Whether a method brings weights of its own for the backbone."""
    target = resolve(spec.target)
    return isinstance(target, type) and issubclass(target, PutsIn)


def check_method_for(spec: MethodSpec, model: ModelSpec) -> None:
    """Check that the weights that a method brings fit a model, before that is loaded.

    Raises:
        ValueError, FileNotFoundError: they do not, or the model's layers cannot be known.
    """
    if not puts_in(spec):
        return
    method: PutsIn = resolve(spec.target)(**spec.arguments)
    # Lazy import: it brings torch, which other methods' checks do without.
    from hypernoise.models.backbones import empty_backbone

    pipeline_class = resolve(model.target).pipeline_class
    given = (model.weights, model.revision, model.architecture)
    try:
        method.check_for(pipeline_class, empty_backbone(pipeline_class, *given))
    except (FileNotFoundError, ValueError) as error:
        fault = f"method {spec.name!r} on model {model.name!r}: {error}"
        raise retold(error, fault) from error


def words_prompts(spec: MethodSpec) -> bool:
    """Whether a method, or its search, encodes prompts of its own wording (:class:`Method`)."""
    searching = spec.searcher or spec
    if searching.trains is not None:
        return False
    method: Method = resolve(searching.target)(**searching.arguments)
    return method.words_prompts


def check_adapter(spec: MethodSpec, adapter: str | None) -> None:
    """Check that a method gets an adapter if and only if it trains one, and that it is whole.

    Raises:
        SpecError: it gets none and needs one, or the other way round, or lacks the checkpoint.
        FileNotFoundError: the adapter's folder or a file in it is missing.
        ValueError: an adapter file is truncated.
    """
    if spec.trains is None:
        if adapter is not None:
            raise SpecError(f"method {spec.name!r} trains nothing, but got the adapter {adapter}")
        return
    if adapter is None:
        raise SpecError(f"method {spec.name!r} needs the folder of a trained {spec.trains} adapter")
    folder = Path(adapter)
    if not folder.is_dir():
        raise FileNotFoundError(f"adapter folder {folder} of method {spec.name!r} is missing")
    from hypernoise.weights.saved_lora import CONFIG_FILE, WEIGHTS_FILE

    folder = _adapter_folder(spec, folder)
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"no trained network in {folder}: {CONFIG_FILE} is missing")
    check_file(folder / WEIGHTS_FILE)


def _adapter_folder(spec: MethodSpec, training: Path) -> Path:
    """The training's folder, or of its checkpoints the one that the method uses."""
    if spec.checkpoint is None:
        return training
    found = checkpoints_of(training)
    if spec.checkpoint not in found:
        steps = ", ".join(map(str, found)) or "none"
        raise SpecError(
            f"method {spec.name!r} uses the checkpoint of step {spec.checkpoint}, which {training} "
            f"does not have; there: {steps}"
        )
    return found[spec.checkpoint]
