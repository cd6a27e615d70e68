"""Declared rewards and benchmarks as functions of images and prompts, for scripts and servers."""

from harness.scorers.scorer import Scorer, load

__all__ = ["Scorer", "load"]
