"""Noise that belongs to a place."""

import numpy as np
from scipy import stats

from universal_diffusion.segmentation.sampling.noise import Window, window_noise

SHAPE = (2, 4, 4)
WINDOWS = [Window(0, 0, 0), Window(0, 8, 0), Window(1, 0, 8)]


def test_noise_of_a_window_and_sample_is_the_same_in_any_batch():
    together = window_noise(7, "liver", WINDOWS, range(5), 3, SHAPE).reshape(3, 5, *SHAPE)
    alone = window_noise(7, "liver", [WINDOWS[1]], range(4, 5), 3, SHAPE)
    assert np.array_equal(together[1, 4], alone[0])


def test_everything_it_belongs_to_changes_it():
    def draw(seed=7, target="liver", place=(3, 8, 16), sample=2, number=1):
        return window_noise(seed, target, [Window(*place)], range(sample, sample + 1), number, SHAPE)

    others = [
        draw(seed=8),
        draw(target="spleen"),
        draw(sample=1),
        draw(number=2),
        draw(place=(4, 8, 16)),
        draw(place=(3, 16, 8)),
    ]
    assert np.array_equal(draw(), draw())
    assert not any(np.isin(draw(), other).any() for other in others)


def test_noise_is_standard_normal_and_uncorrelated():
    windows = [Window(z, x, y) for z in range(20) for x in (0, 8) for y in (0, 8)]
    noise = window_noise(1, "liver", windows, range(5), 0, (1, 8, 8)).reshape(len(windows) * 5, -1)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.001
    correlation = np.corrcoef(noise)
    assert np.abs(correlation[np.triu_indices_from(correlation, 1)]).max() < 0.7
