"""Figures, formats of tables, gallery and pages. Imports no torch."""
