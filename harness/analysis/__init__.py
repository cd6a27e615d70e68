"""Statistics, pairing and tables: pure functions of frames. Imports no torch."""
