"""The mean mask: what it averages over, how it is thresholded, and that it finds its place in an unseen scan."""

import json

import numpy as np
import pytest

from universal_diffusion.baselines import prior_mask
from universal_diffusion.baselines.frame import Placement, covered_rows, to_frame
from universal_diffusion.baselines.prior_mask import LEVELS, NEVER, dice_per_level, load_prior, mean_masks, train
from universal_diffusion.errors import InputError
from universal_diffusion.targets import mask, target
from universal_diffusion.volumes import write_volume

LIVER, TUMOUR = target("liver").id - 1, target("liver tumor").id - 1


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def stored(folder, *volumes):
    for volume in volumes:
        write_volume(folder / f"{volume.case}.h5", volume)
    return [folder / f"{volume.case}.h5" for volume in volumes]


def test_the_mean_is_over_the_cases_that_are_annotated_and_show_the_row(make_case, tmp_path):
    whole = make_case("whole", range(40), ("liver", "liver tumor"), tumour=True)
    healthy = make_case("healthy", range(12, 40), ("liver", "liver tumor"))
    unknown = make_case("unknown", range(40), ("liver",), tumour=True)
    volumes = stored(tmp_path, whole, healthy, unknown)
    centre, spread = np.array([32.0, 30.0]), np.array([10.0, 7.0])
    placements = dict(zip(volumes, [Placement(centre, spread, row) for row in (0, 12, 0)], strict=True))
    means = mean_masks(volumes, placements, 40) / LEVELS
    tumour = to_frame(mask(whole.labels, "liver tumor"), placements[volumes[0]], 40)
    organ = to_frame(mask(whole.labels, "liver"), placements[volumes[0]], 40)
    assert tumour[..., :12].any()
    assert tumour[..., 12:].any()
    assert means[LIVER] == pytest.approx(organ, abs=0.5 / LEVELS)  # row by row the same in all three
    shared = np.where(np.arange(40) < 12, 1, 2)  # `healthy` starts at row 12, `unknown` has no say
    assert means[TUMOUR] == pytest.approx(tumour / shared, abs=0.5 / LEVELS)
    assert not means[target("spleen").id - 1].any()


def test_dice_per_level_is_the_dice_of_each_thresholded_mean(make_case):
    truth = mask(make_case("a", range(10, 30)).labels, "liver")
    placement = Placement(np.array([31.0, 30.0]), np.array([10.0, 7.0]), 4)
    mean = np.random.default_rng(0).integers(0, LEVELS + 1, (80, 80, 30)).astype(np.uint8)
    curve = dice_per_level(mean, truth, placement)
    rows = covered_rows(placement, 20, 30)
    there = to_frame(truth, placement, 30)[..., rows]
    for level in (0, 1, 77, 255):
        predicted = mean[..., rows] >= level
        assert curve[level] == pytest.approx(2 * there[predicted].sum() / (predicted.sum() + there.sum()), rel=1e-5)
    assert curve[NEVER] == 0


def test_an_unseen_scan_of_another_size_and_field_of_view_is_segmented(make_case, cohort):
    folder, _ = cohort
    prior, training_dice = train([folder / f"{name}.h5" for name in "abcd"])
    unseen = make_case("v", range(5, 33), ("liver", "spleen"), centre=(31.0, 30.0), size=1.05)
    predicted = dict(prior.predict(unseen))
    assert list(predicted) == ["liver", "spleen"]
    assert dice(predicted["liver"], mask(unseen.native_labels, "liver")) > 0.9
    assert training_dice[LIVER] > 0.9
    assert not predicted["spleen"].any()  # annotated in no training case
    assert np.isnan(training_dice[target("spleen").id - 1])


def test_training_writes_the_same_bytes_again_and_reads_back(cohort, tmp_path, monkeypatch):
    folder, splits = cohort
    for name in ("first", "second"):
        arguments = ["--volumes", folder, "--splits", splits, "--output", tmp_path / name]
        monkeypatch.setattr("sys.argv", ["prior_mask", *map(str, arguments)])
        prior_mask.main()
    for file in ("weights.safetensors", "card.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    card = json.loads((tmp_path / "first" / "card.json").read_text())
    assert (card["kind"], card["cases"], card["targets"]) == ("prior_mask", 4, ["liver", "liver tumor"])
    trained, _ = train([folder / f"{name}.h5" for name in "abcd"])
    loaded = load_prior(tmp_path / "first")
    assert np.array_equal(loaded.means, trained.means)
    assert np.array_equal(loaded.thresholds, trained.thresholds)
    assert np.array_equal(loaded.frame.profile, trained.frame.profile)


def test_no_training_case_is_an_input_error():
    with pytest.raises(InputError, match="no training case"):
        train([])
