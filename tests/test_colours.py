"""The colours of the targets in pictures."""

from itertools import combinations

import numpy as np
from PIL import Image, ImageCms

from universal_diffusion.colours import colour
from universal_diffusion.targets import all_targets


def test_every_target_has_a_colour_that_no_other_resembles():
    shown = np.array([[colour(target) for target in all_targets()]])
    picture = Image.fromarray(np.round(255 * shown).astype(np.uint8), "RGB")
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    stored = np.asarray(ImageCms.applyTransform(picture, to_lab))[0]
    lab = np.stack([stored[:, 0] / 2.55, *stored[:, 1:].view(np.int8).T], axis=1)
    assert lab.shape == (29, 3)
    assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 20
    assert lab[:, 0].min() > 45
