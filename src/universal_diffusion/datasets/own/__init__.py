"""Datasets that users bring: a folder of CTs and label maps, and a `dataset.yaml` that says what the labels mean."""
