"""SegResNet: unknown is not absent, labels may overlap, and a short training ends in masks on the CT's own grid."""

import argparse
import json

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss

from universal_diffusion.baselines import segresnet
from universal_diffusion.baselines.segresnet import IndexedLabels, annotated_loss, build, check_sizes, load_segmenter
from universal_diffusion.errors import InputError
from universal_diffusion.targets import all_targets, mask, target
from universal_diffusion.training.patches import Batches
from universal_diffusion.volumes import VolumeFile

PREPARATION = {
    "spacing_mm": [5, 5, 6],
    "hu_window": [-175, 250],
    "patch": 64,
}
PATCHES = {"per_case": 2, "target_probability": 0.7}
TRAINING = {
    "steps": 60,
    "batch": 4,
    "learning_rate": 0.003,
    "warmup": 5,
    "decay": "none",
    "weight_decay": 0,
    "ema_decay": 0.5,
    "gradient_clip": 1,
    "validate_every": 60,
    "checkpoint_minutes": 5,
    "precision": "32-true",
}
LIVER, TUMOUR, SPLEEN = (target(name).id - 1 for name in ("liver", "liver tumor", "spleen"))


def arguments_of(cohort, output):
    folder, splits = cohort
    given = {
        "volumes": [folder],
        "splits": splits,
        "settings": json.dumps({"segresnet_filters": 8, "training": TRAINING}),
        "preparation": json.dumps(PREPARATION),
        "patches": json.dumps(PATCHES),
        "study_seed": 7,
        "threads": 1,
        "output": output,
    }
    return argparse.Namespace(**given)


def test_batches_hold_every_label_of_the_patch_and_what_is_annotated(cohort, tmp_path):
    batches = Batches(arguments_of(cohort, tmp_path), 8, IndexedLabels)
    image, masks, annotated = batches.train(0, slice(0, 8), torch.device("cpu"))
    drawn = batches._whole["train"].sampler.draw(0, 8)
    assert (image.shape, masks.shape, annotated.shape) == ((8, 1, 64, 64), (8, 29, 64, 64), (8, 29))
    for row, origin in enumerate(drawn.origins):
        with VolumeFile(cohort[0] / f"{origin.case}.h5") as volume:
            labels = volume.label_slice(origin.z)
            names = [known.name for known, told in zip(all_targets(), annotated[row], strict=True) if told]
            assert sorted(names) == sorted(volume.annotated)
        for index in (LIVER, TUMOUR):
            expected = mask(labels[origin.x :, origin.y :][:64, :64], all_targets()[index].name)
            assert np.array_equal(masks[row, index].numpy() > 0, expected)
        assert torch.equal(masks[row, drawn.target_ids[row] - 1], torch.from_numpy(drawn.mask[row, 0]))


def test_the_loss_is_bce_and_dice_of_the_annotated_pairs_only():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 29, 8, 8, generator=generator, requires_grad=True)
    masks = (torch.rand(3, 29, 8, 8, generator=generator) > 0.7).float()
    annotated = torch.zeros(3, 29, dtype=torch.bool)
    annotated[0, LIVER] = annotated[0, TUMOUR] = annotated[2, SPLEEN] = True
    loss = annotated_loss(logits, masks, annotated)
    pairs = [(0, LIVER), (0, TUMOUR), (2, SPLEEN)]
    told = torch.stack([logits[p] for p in pairs])[:, None], torch.stack([masks[p] for p in pairs])[:, None]
    dice = DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1)(*told)
    assert loss.item() == pytest.approx((torch.nn.BCEWithLogitsLoss()(*told) + dice).item(), rel=1e-5)
    gradient = torch.autograd.grad(loss, logits)[0].abs().sum((2, 3))
    assert torch.equal(gradient > 0, annotated)


@pytest.mark.parametrize(("filters", "patch", "key"), [(12, 64, "segresnet_filters"), (8, 100, "patch")])
def test_sizes_that_do_not_fit_are_refused_by_their_key(filters, patch, key):
    with pytest.raises(InputError, match=key):
        check_sizes(filters, patch)


def test_a_trained_network_segments_an_unseen_case_on_its_own_grid(cohort, tmp_path, monkeypatch, make_case):
    arguments = vars(arguments_of(cohort, tmp_path / "model")) | {"volumes": cohort[0]}
    flags = [part for key, value in arguments.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    monkeypatch.setattr("sys.argv", ["segresnet", *flags])
    segresnet.main()
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert (card["kind"], card["targets"]) == ("segresnet", ["liver", "liver tumor"])
    segmenter = load_segmenter(tmp_path / "model", torch.device("cpu"))
    unseen = make_case("u", range(6, 26), ("spleen", "liver"), centre=(31.0, 31.0))
    predicted = dict(segmenter.predict(unseen))
    truth = mask(unseen.native_labels, "liver")
    assert list(predicted) == ["spleen", "liver"]
    assert 2 * (predicted["liver"] & truth).sum() / (predicted["liver"].sum() + truth.sum()) > 0.5


def test_windows_wider_than_the_network_saw_are_blended_seamlessly():
    """A volume of several windows and slabs gives each voxel a probability, in the order of the names."""
    network = build(8).eval()
    segmenter = segresnet.Segmenter(network, 32, torch.device("cpu"))
    image = np.random.default_rng(0).random((40, 36, 18), dtype=np.float32)
    forward = segmenter.probabilities(image, ("liver", "spleen"))
    backward = segmenter.probabilities(image, ("spleen", "liver"))
    assert forward.shape == (2, 40, 36, 18)
    assert np.array_equal(forward, backward[::-1])
    assert np.isfinite(forward).all()
