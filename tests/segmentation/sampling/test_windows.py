"""The window grid against MONAI's own: places, padding, and which windows are air."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from universal_diffusion.segmentation.sampling.windows import Windows

sizes = st.tuples(st.integers(1, 50), st.integers(1, 50))


@examples(max_examples=40)
@given(sizes, st.integers(4, 24), st.floats(0, 0.8))
def test_windows_start_where_monais_do(shape, patch, overlap):
    windows, seen = Windows(shape, patch, overlap), []

    def note(patches: torch.Tensor, places: list) -> torch.Tensor:
        seen.extend((place[2].start, place[3].start) for place in places)
        return patches

    image = np.random.default_rng(0).random((*shape, 1), np.float32)
    stack = torch.from_numpy(image).movedim(2, 0)[:, None]
    blended = sliding_window_inference(stack, (patch, patch), 4, note, overlap, mode="gaussian", with_coord=True)
    assert windows.starts.tolist() == [list(start) for start in seen]
    total = torch.zeros(windows.padded)
    for window, cut in enumerate(windows.cut(image, np.array([(0, w) for w in range(len(windows))]))):
        total[windows.place(window)] += torch.from_numpy(cut[0]) * windows.importance
    mine = windows.crop(total / windows.weights(np.ones(len(windows), bool)))
    assert torch.allclose(mine, blended[0, 0], atol=1e-6)


@examples(max_examples=40)
@given(sizes, st.integers(4, 24), st.floats(0, 0.8), st.integers(0, 49), st.integers(0, 49))
def test_a_lone_voxel_of_body_is_held_by_exactly_the_windows_that_cover_it(shape, patch, overlap, x, y):
    windows, image = Windows(shape, patch, overlap), np.zeros((*shape, 2), np.float32)
    x, y = x % shape[0], y % shape[1]
    image[x, y, 1] = 0.01
    held = windows.body(image)
    assert not held[0].any()
    assert held[1].any()
    for window in range(len(windows)):
        inside = torch.zeros(windows.padded)
        inside[windows.place(window)] = 1
        assert held[1, window] == bool(windows.crop(inside)[x, y])
