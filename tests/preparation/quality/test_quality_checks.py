"""Every check of the quality report: a constructed patient with the defect, and the clean twin."""

from dataclasses import replace

import numpy as np
import pytest

from universal_diffusion.native_hu import EDGES
from universal_diffusion.preparation.fingerprints import prints
from universal_diffusion.preparation.quality.checks import check
from universal_diffusion.preparation.quality.findings import kinds
from universal_diffusion.preparation.quality.limits import limits
from universal_diffusion.targets import all_targets, mask
from universal_diffusion.volumes import Grid


@pytest.fixture
def found(tables):
    """(kind, target) of all that is found in a volume."""
    return lambda volume: [(hit.kind, hit.target) for hit in check(*tables(volume))]


def test_nothing_is_found_in_the_clean_patient(found, clean):
    assert found(clean) == []


def test_an_empty_liver_is_suspicious_an_empty_tumour_is_not(found, relabelled, tables):
    assert found(relabelled(liver_tumor=None)) == [("true absence", "liver tumor")]
    hits = check(*tables(relabelled(liver=None, liver_tumor=None)))
    assert [(hit.kind, hit.target, hit.severity) for hit in hits] == [
        ("empty", "liver", "warning"),
        ("true absence", "liver tumor", "note"),
    ]


def test_a_case_without_any_label_is_named(found, clean):
    bare = replace(clean, labels=0 * clean.labels, native_labels=0 * clean.native_labels)
    assert found(bare)[0] == ("no label", "")
    assert found(replace(bare, annotated=())) == [("no label", "")]


def test_a_mirrored_patient_is_one_finding_a_swapped_label_one_for_each_organ(found, clean, relabelled, tables):
    turned = {name: getattr(clean, name)[::-1] for name in ("image", "labels", "native_labels")}
    (hit,) = check(*tables(replace(clean, **turned)))
    assert (hit.kind, hit.target, hit.severity) == ("mirrored", "", "warning")
    assert hit.value.startswith("spleen 100 mm to the right, right kidney 65 mm to the left")
    right, left = (mask(clean.labels, f"{side} kidney") for side in ("right", "left"))
    assert found(relabelled(right_kidney=left, left_kidney=right)) == [
        ("side", "right kidney"),
        ("side", "left kidney"),
    ]


@pytest.mark.parametrize(("x_mm", "wrong"), [(-4, False), (8, False), (12, True), (40, True)])
def test_an_organ_within_a_centimetre_of_the_midline_lies_on_neither_side(found, relabelled, mask_of, x_mm, wrong):
    moved = found(relabelled(left_kidney=mask_of((x_mm, -10, -60), (26, 26, 50))))
    assert (("side", "left kidney") in moved) == wrong


def test_a_small_liver_is_implausible_unless_the_scan_cuts_it(found, relabelled, mask_of):
    small = mask_of((70, 20, 60), (35, 35, 35))
    assert found(relabelled(liver=small)) == [("volume", "liver")]
    at_the_top = mask_of((70, 20, 140), (35, 35, 35))
    assert at_the_top[..., -1].any()
    assert ("volume", "liver") not in found(relabelled(liver=at_the_top, liver_tumor=None))


def test_an_organ_too_large_is_implausible_even_when_cut(found, clean, relabelled):
    body = clean.image > 0
    assert ("volume", "bladder") in found(relabelled(bladder=body))


def test_a_tumour_outside_its_organ_is_found_where_the_organ_is_labelled(found, clean, relabelled, mask_of):
    astray = relabelled(liver_tumor=mask_of((-60, -50, -50), (12, 12, 12)))
    assert found(astray) == [("parents", "liver tumor")]
    alone = replace(astray, annotated=tuple(name for name in clean.annotated if name != "liver"))
    assert found(alone) == []


def test_a_label_in_the_air_beside_the_patient_is_astray(found, clean, relabelled):
    beside = mask(clean.labels, "spleen").copy()
    beside[2:4, 30:40, 30:40] = True
    assert ("astray", "spleen") in found(relabelled(spleen=beside))
    within = mask(clean.labels, "spleen") & (clean.image > 0)
    assert found(relabelled(spleen=within)) == []


def test_specks_of_label_are_fragments(found, clean, relabelled):
    spleen = mask(clean.labels, "spleen")
    few, many = spleen.copy(), spleen.copy()
    few[10:14:2, 30, 20] = True
    many[10:30:2, 30, 20] = True
    assert found(relabelled(spleen=few)) == []
    assert found(relabelled(spleen=many)) == [("fragments", "spleen")]


def test_a_mask_that_the_harmonised_grid_does_not_keep_is_found(found, clean, tables):
    liver = np.flatnonzero(mask(clean.labels, "liver") & ~mask(clean.labels, "liver tumor"))
    for share, expected in ((0.008, []), (0.03, [("resampling", "liver")])):
        labels = clean.labels.copy()
        labels.ravel()[liver[: int(share * liver.size)]] = 0
        assert found(replace(clean, labels=labels)) == expected


@pytest.mark.parametrize(
    ("spacing", "kinds_found"),
    [
        ((2, 2, 5), []),
        ((1, 1, 1), ["forced spacing", "field of view", "field of view"]),
        ((3, 3, 5), ["spacing"]),
        ((2, 2, 12), ["spacing"]),
    ],
)
def test_spacing_and_field_of_view(tables, clean, spacing, kinds_found):
    """The CT's own grid with another spacing in its header; axes permuted, as some archives are."""
    steps = np.zeros((4, 4))
    steps[0, 1], steps[1, 2], steps[2, 0], steps[3, 3] = -spacing[0], spacing[1], spacing[2], 1
    turned = np.moveaxis(clean.native_labels, 2, 0)
    header = replace(clean, native_labels=turned, native_grid=Grid(turned.shape, steps))
    assert [hit.kind for hit in check(*tables(header)) if hit.target == ""] == kinds_found


def test_hounsfield_units_of_scan_and_organs(found, clean):
    assert found(replace(clean, image=np.where(clean.image > 0, 0.98, 0).astype(np.float32)))[0] == ("hounsfield", "")
    liver = mask(clean.labels, "liver")
    fatty = replace(clean, image=np.where(liver, np.float32(0.2), clean.image))
    assert ("hounsfield", "liver") in found(fatty)
    assert ("hounsfield", "spleen") not in found(fatty)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-1000, 0, 700], []),
        ([-3024, -1000, 0, 700], ["padding"]),
        ([-1000, 0, 250], ["clipped"]),
        ([0, 24, 700], ["hounsfield"]),
        ([], []),
    ],
)
def test_range_of_the_native_scan(found, clean, values, expected):
    counts = prints(np.array(values, np.float32).reshape(-1, 1, 1)).native_hu if values else 0 * clean.native_hu
    assert [kind for kind, _ in found(replace(clean, native_hu=counts))] == expected


def test_hu_counts_agree_with_numpy_on_any_axis_order():
    image = np.random.default_rng(3).uniform(-1990, 3990, (5, 7, 9)).astype(np.float32)
    expected = np.histogram(image, EDGES)[0]
    assert np.array_equal(prints(image).native_hu, expected)
    assert np.array_equal(prints(image.transpose(2, 0, 1)).native_hu, expected)
    assert prints(np.array([[[-1e5, 1e5]]], np.float32)).native_hu[[0, -1]].tolist() == [1, 1]


def test_every_target_has_limits_with_a_source_and_every_kind_says_what_to_do():
    assert set(limits()) == {known.name for known in all_targets()}
    for limit in limits().values():
        assert limit.low_ml < limit.high_ml
        assert limit.hu_low < limit.hu_high
        assert limit.side in ("right", "left", "")
        assert limit.empty in ("suspicious", "possible")
        assert len(limit.source) > 20
    assert all(kind.severity in ("error", "warning", "note") and kind.action for kind in kinds().values())
