"""Scores, statistics, tables, figures, claims and provenance: what the study says, and from which numbers."""
