"""The benchmark of scoring on a small case: all ways give the same scores."""

import numpy as np
import pytest

from universal_diffusion.benchmarks import scoring
from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.targets import bits


def small(slices: int) -> Scan:
    labels = np.zeros((48, 40, slices), np.uint32)
    for number, name in enumerate(scoring.TARGETS):
        labels[4 + 8 * number : 12 + 8 * number, 8:26, 3:-4] = bits([name])
    return Scan(np.zeros(labels.shape, np.float32), np.diag([0.8, 0.8, 2.5, 1.0]), labels)


def test_all_ways_of_scoring_agree(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "native", small)
    assert scoring.write_case(tmp_path, 14) == (48, 40, 14)
    for kind in scoring.PREDICTIONS:
        found = [way(tmp_path, kind) for way in scoring.WAYS.values()]
        assert all(set(scores) == set(scoring.TARGETS) for scores in found)
        assert all(scoring.farthest(scores, found[-1]) < 1e-5 for scores in found)
        assert all(0 < scores["liver"][0] < 1 for scores in found)
    assert scoring.farthest(
        {name: [1.0, 1.0, 4.0] for name in scoring.TARGETS}, {name: [1.0, 1.0, 5.0] for name in scoring.TARGETS}
    ) == pytest.approx(0.2)
