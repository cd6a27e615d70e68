"""The verbs of ``python -m harness``, one each."""
