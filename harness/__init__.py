"""Measurement: images, scores, timings and tables of the methods in :mod:`hypernoise`."""
