"""Sheets of validation patches: what is where in them, which way up it hangs, and which patches they choose."""

import numpy as np
import pytest
import torch

from universal_diffusion.colours import colour
from universal_diffusion.targets import target
from universal_diffusion.training import pictures
from universal_diffusion.training.pictures import GAP, GROUND, MARGIN, choice, image_sheet, mask_sheet
from universal_diffusion.training.pictures import segmentation_sheet as segmentation

PATCH, SCALE = 40, 4  # a patch of 40 voxels is magnified four times to be 160 pixels wide
STEP = SCALE * PATCH + GAP
LIVER, SPLEEN = target("liver").id, target("spleen").id


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The patch shown there, one pixel per voxel, from voxels' centres: (P, P, 3)."""
    left, top = MARGIN + STEP * column + SCALE // 2, MARGIN + STEP * row + SCALE // 2
    return sheet[top : top + SCALE * PATCH : SCALE, left : left + SCALE * PATCH : SCALE]


def box(*corner: int) -> torch.Tensor:
    """A mask (1, 1, P, P) of a box of 10 x 6 voxels (x, y) at a corner."""
    mask = torch.zeros(1, 1, PATCH, PATCH)
    mask[0, 0, corner[0] : corner[0] + 10, corner[1] : corner[1] + 6] = 1
    return mask


def test_sheets_show_their_patches_pixel_by_pixel():
    image = torch.rand(3, 1, PATCH, PATCH, generator=torch.Generator().manual_seed(0))
    sheet = image_sheet(image, image.flip(0))
    assert sheet.shape == (MARGIN + 3 * STEP, MARGIN + 3 * STEP, 3)
    for column in range(3):
        for row, shown in enumerate((image, image.flip(0))):
            expected = np.rot90(shown[column, 0].numpy())[:, ::-1]
            away = np.s_[:, 8:]  # of the R that marks the patient's right
            assert np.abs(tile(sheet, row, column)[away] / 255 - expected[away][..., None]).max() < 1 / 127
    error = tile(sheet, 2, 1)
    assert np.ptp(error.reshape(-1, 3), axis=0).max() <= 1  # the middle patch is its own reconstruction: no error
    assert error.min() > 240


def test_patients_right_is_on_the_left_and_the_front_on_top():
    truth = box(28, 2)  # x grows to the patient's right, y to the front
    for row in (0, 1):
        shown = tile(mask_sheet(truth, truth, torch.tensor([LIVER])), row, 0)[12:] > 240  # below the R
        assert np.argwhere(shown.all(axis=2)).tolist()[0] == [32 - 12, 2]
        assert shown.all(axis=2).sum() == 60


@pytest.mark.parametrize("known", ["liver", "spleen"])
def test_outlines_have_the_targets_colour(known):
    image, truth = torch.zeros(1, 1, PATCH, PATCH), box(10, 10)
    sheet = segmentation(image, truth, torch.zeros_like(image), torch.tensor([target(known).id]))
    wanted = np.round(255 * np.array(colour(target(known))))
    places = np.argwhere(np.abs(sheet.astype(float) - wanted).max(axis=2) < 40)
    inside = places[(places > MARGIN).all(axis=1)]
    first, last = inside.min(axis=0) - MARGIN, inside.max(axis=0) - MARGIN
    assert np.allclose(first, [SCALE * (PATCH - 16), SCALE * (PATCH - 20)], atol=2)
    assert np.allclose(last, [SCALE * (PATCH - 10), SCALE * (PATCH - 10)], atol=2)


def test_prediction_is_outlined_at_one_half():
    image = torch.zeros(2, 1, PATCH, PATCH)
    probability = torch.cat([0.4 * box(10, 10), 0.6 * box(10, 10)])
    ids = torch.tensor([LIVER, SPLEEN])
    sheet = segmentation(image, torch.zeros_like(image), probability, ids)
    low, high = (sheet[-STEP:-GAP, MARGIN + STEP * column :][:, : STEP - GAP] for column in range(2))
    assert low.max() == 0
    assert high.max() > 100


def test_sheets_are_the_same_bytes():
    sheets = [mask_sheet(box(3, 3), 0.5 * box(3, 3), torch.tensor([LIVER])) for _ in range(2)]
    assert sheets[0].tobytes() == sheets[1].tobytes()
    assert (sheets[0][-1] == GROUND).all()


def test_choice_prefers_the_fullest_patch_of_each_target():
    areas, ids = [5, 0, 9, 3, 0, 7], [LIVER, SPLEEN, LIVER, SPLEEN, 1, 9]
    mask = torch.zeros(6, 1, 4, 4)
    for place, area in enumerate(areas):
        mask[place].view(-1)[:area] = 1
    assert choice(mask, torch.tensor(ids)).tolist() == [2, 3, 5, 0, 1, 4]
    many = choice(torch.zeros(40, 1, 2, 2), torch.ones(40))
    assert many.tolist() == list(range(pictures.SHOWN))
