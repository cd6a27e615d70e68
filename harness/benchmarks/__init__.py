"""Benchmarks: pure functions that turn detections or answers into decisions."""
