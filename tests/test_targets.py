"""The 29 targets and their bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
