"""Native codes to target bits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from universal_diffusion.datasets.catalogue import MERGED, entry, sources
from universal_diffusion.datasets.labels import MERGED_BITS, add_structure, bits_of, encode
from universal_diffusion.errors import InputError
from universal_diffusion.targets import all_targets, bits, mask

CODED = [key for key in sources() if entry(key).labels]


def test_merged_bits_collide_with_no_target():
    assert int(bits(known.name for known in all_targets())) & int(bits_of(MERGED)) == 0


@given(source=st.sampled_from(CODED), data=st.data())
def test_every_voxel_gets_exactly_its_code_s_targets(source, data):
    table = entry(source).labels
    codes = data.draw(arrays.arrays(np.uint8, (2, 3, 4), elements=st.sampled_from([0, *table])))
    codes = np.asarray(codes, order=data.draw(st.sampled_from("CF")))
    encoded = encode(codes, table, Path("label"))
    assert encoded.dtype == np.uint32
    for voxel, code in zip(encoded.flat, codes.flat, strict=True):
        assert voxel == (bits_of(table[int(code)]) if code else 0)


@pytest.mark.parametrize("codes", [[0, 1, 3], [0, -1], [0, 70000]])
def test_unknown_code_is_refused(codes):
    with pytest.raises(InputError, match=r"label_7: holds label code -?\d+; known codes are 0, 1, 2; check"):
        encode(np.array([[codes]]), entry("msd03").labels, Path("label_7"))


def test_a_gap_in_the_table_is_no_background():
    with pytest.raises(InputError, match="holds label code 2"):
        encode(np.array([[[0, 2]]]), {1: ("liver",), 3: ("spleen",)}, Path("label"))


def test_structures_overlap():
    labels = np.zeros(3, np.uint32)
    add_structure(labels, np.array([True, True, False]), ("liver",))
    add_structure(labels, np.array([False, True, True]), ("liver tumor", "kidneys"))
    assert mask(labels, "liver").tolist() == [True, True, False]
    assert mask(labels, "liver tumor").tolist() == [False, True, True]
    assert ((labels & MERGED_BITS["kidneys"]) != 0).tolist() == [False, True, True]
