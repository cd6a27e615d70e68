"""Measurement: images, scores, timings and tables of the methods in :mod:`hypernoise`."""

# So that torchvision can be imported by the modules here, whichever comes first.
import hypernoise  # noqa: F401
