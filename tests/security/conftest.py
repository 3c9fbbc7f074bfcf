"""Fixtures that these tests borrow from other rooms': browser, result, report, model, DICOM slices, server."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).parents[1]


def load(path: str) -> ModuleType:
    """A file of the tests as a module."""
    name = "borrowed_" + path.replace("/", "_").removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, TESTS / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


_viewer, _report = load("viewer/conftest.py"), load("viewer/test_report_page.py")
_segmentation, _downloads = load("segmentation/conftest.py"), load("preparation/conftest.py")
browser, result, results = _viewer.browser, _viewer.result, _report.results
model, write_slice, write_series = _segmentation.model, _segmentation.write_slice, _segmentation.write_series
server, other_server = _downloads.server, _downloads.other_server


@pytest.fixture(scope="session")
def strangers() -> ModuleType:
    """Small valid files of every kind, and what reads them."""
    return load("security/strangers.py")
