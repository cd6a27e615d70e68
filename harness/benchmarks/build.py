"""From a benchmark's declaration to the benchmark, and from nested declarations to their objects.

Arguments of a benchmark may be declarations themselves, mappings of a ``target`` and its
arguments: ``{"target": "harness.benchmarks.vlm:Vlm", "weights": "owner/name", "revision": "..."}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from harness.base.errors import SpecError, unknown
from harness.benchmarks.protocol import Benchmark, Prompt
from harness.build.devices import default_device
from harness.build.prompts import BENCHMARKS, checked, told_meaning
from harness.build.targets import call_target, check_target
from harness.experiment.components import BenchmarkSpec

#: A target and its arguments.
Declaration: TypeAlias = Mapping[str, Any]


def build_benchmark(spec: BenchmarkSpec) -> Benchmark:
    """The benchmark that is declared; nothing is loaded.

    Raises:
        SpecError: there is no such class, it is no benchmark, or does not take an argument.
    """
    check_target(spec.target, spec.arguments, spec.file, does=("prompts", "check", "score"))
    benchmark: Benchmark = call_target(spec.target, spec.arguments, default_device(), spec.file)
    return benchmark


def check_benchmark(spec: BenchmarkSpec) -> Benchmark:
    """Build a benchmark and check it before any image is made.

    Raises:
        SpecError: as :func:`build_benchmark`, or the declared metric is none of the class's.
        ValueError, FileNotFoundError: as :meth:`harness.benchmarks.protocol.Benchmark.check`.
    """
    benchmark = build_benchmark(spec)
    names = [metric.name for metric in benchmark.metrics]
    if spec.metric not in (names or [""]):
        raise unknown(f"metric of benchmark {spec.name!r}", spec.metric, names, spec.file)
    benchmark.check()
    return benchmark


def prompts_of(benchmark: str, **arguments: Any) -> tuple[Prompt, ...]:
    """The prompts of a benchmark's class, for jobs that need no more of a benchmark.

    Args:
        benchmark: target of the class.
        arguments: of the class.

    Raises:
        SpecError: as :func:`build_benchmark`.
        ValueError, FileNotFoundError: as :meth:`harness.benchmarks.protocol.Benchmark.prompts`.
    """
    declaration = {**arguments, "target": benchmark}
    given = build_declared(declaration, "a benchmark").prompts()
    return tuple(checked(given, f"prompts of {benchmark}", BENCHMARKS))


def declared_prompts(declaration: Declaration) -> list[Prompt]:
    """The prompts of a declared list; raises as :func:`build_declared`."""
    given = build_declared(declaration, "a list of prompts")
    return [
        Prompt(p.prompt_id, p.text, p.task, getattr(p, "metadata", {}), told_meaning(p))
        for p in checked(given, str(declaration["target"]))
    ]


def build_declared(declaration: Declaration, what: str) -> Any:
    """What a target gives for its arguments; it gets this job's device if it takes one.

    Raises:
        SpecError: no target, or one that cannot be called with the arguments; ``what`` is named.
        ValueError, FileNotFoundError: as the target itself.
    """
    arguments = dict(declaration)
    target = arguments.pop("target", "")
    if not target:
        raise SpecError(f"{what} needs a target, got {dict(declaration)}")
    check_target(target, arguments)
    return call_target(target, arguments, default_device())
