"""The 29 targets and their bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr._concepts_dict import concepts

from universal_diffusion.errors import InputError
from universal_diffusion.targets import all_targets, bits, mask, target

NAMES = [known.name for known in all_targets()]


def test_there_are_23_organs_and_6_tumours_in_the_order_of_their_ids():
    assert [known.id for known in all_targets()] == list(range(1, 30))
    kinds = [known.kind for known in all_targets()]
    assert (kinds.count("organ"), kinds.count("tumour")) == (23, 6)
    assert len(set(NAMES)) == 29


def test_every_parent_is_another_organ():
    organs = {known.name for known in all_targets() if known.kind == "organ"}
    for known in all_targets():
        assert set(known.parents) <= organs - {known.name}
    assert target("liver tumor").parents == ("liver",)
    assert target("hepatic vessel tumor").parents == ()  # MSD task 08 labels no liver


@given(st.sampled_from(NAMES), st.sampled_from([str.upper, str.title, lambda n: n.replace(" ", "_"), " {} ".format]))
def test_name_is_found_however_it_is_written(name, spelling):
    assert target(spelling(name)).name == name


def test_unknown_name_is_refused_with_the_nearest_ones():
    with pytest.raises(InputError, match=r"is none of the 29; nearest: .*spleen"):
        target("splen")
    with pytest.raises(InputError, match=r"nearest: .*liver"):
        target("lever")


def test_prompt_names_the_target():
    assert target("left kidney").prompt == "A computerized tomography of a left kidney"
    assert target("left kidney").slug == "left_kidney"


@given(st.lists(st.sampled_from(NAMES)))
def test_bits_hold_the_named_targets_and_no_other(names):
    labels = np.full((2, 1, 1), bits(names), np.uint32)
    assert {name for name in NAMES if mask(labels, name).all()} == set(names)
    assert {name for name in NAMES if mask(labels, name).any()} == set(names)


def known_meanings(value: str) -> set[str]:
    """What pydicom's copy of DICOM's context groups says a SNOMED CT number means."""
    return {meaning for spellings in concepts["SCT"].values() for at, (meaning, _) in spellings.items() if at == value}


@pytest.mark.parametrize("known", all_targets(), ids=lambda known: known.slug)
def test_every_code_means_what_dicom_says_it_means(known):
    coded = [known.category, known.type, *known.regions, *filter(None, [known.laterality])]
    for code in coded:
        assert code.meaning in known_meanings(code.value)


def test_sides_and_lesions_are_coded_as_such():
    for known in all_targets():
        side = next((side for side in ("right", "left") if known.name.startswith(f"{side} ")), None)
        assert (known.laterality.meaning.lower() if known.laterality else None) == side
        is_lesion = known.kind == "tumour" or known.name == "kidney cyst"
        assert known.category.value == ("49755003" if is_lesion else "91723000")
        assert not is_lesion or known.regions
    of_parents = [(known, target(parent)) for known in all_targets() for parent in known.parents]
    assert all(known.regions == (parent.type,) for known, parent in of_parents)
    coded = [(known.type, known.laterality, known.regions) for known in all_targets()]
    twice = {known.name for known, code in zip(all_targets(), coded, strict=True) if coded.count(code) > 1}
    assert twice == {"liver tumor", "hepatic vessel tumor"}  # the same lesions, annotated in two datasets
