"""Files that appear whole or not at all; errors of one line; random numbers that depend on their purpose only."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.files import sha256, whole_file, write_json, write_text
from universal_diffusion.randomness import numpy_generator, seed_of


def test_finished_file_takes_its_place_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "naïve\n")
    assert path.read_bytes() == "naïve\n".encode()
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_failed_writing_leaves_the_old_file_and_no_part_of_the_new(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail():
        with whole_file(path) as partial:
            partial.write_text("half")
            raise ValueError("interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_partial_name_keeps_the_suffixes_that_writers_look_at(tmp_path):
    with whole_file(tmp_path / "ct.nii.gz") as partial:
        assert partial.name.endswith("ct.nii.gz")
        partial.touch()


def test_json_does_not_depend_on_the_order_of_keys(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    write_json(tmp_path / "b.json", {"a": [2], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [2], "b": 1}


def test_hash_is_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_input_error_ends_a_step_with_one_line_and_status_2(capsys):
    @one_line_errors
    def main():
        raise InputError("scan.nii.gz", "is\n  truncated", "fetch it again")

    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: scan.nii.gz: is truncated; fetch it again\n"


def test_other_errors_are_not_hidden():
    @one_line_errors
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()


@given(st.integers(0, 2**63), st.lists(st.one_of(st.text(), st.integers()), max_size=3))
def test_seed_fits_63_bits_and_depends_on_seed_and_purpose(seed, purpose):
    assert 0 <= seed_of(seed, *purpose) < 2**63
    assert seed_of(seed, *purpose) == seed_of(seed, *purpose)
    assert seed_of(seed, *purpose) != seed_of(seed, *purpose, "other")


def test_generators_are_independent_by_purpose():
    draws = [numpy_generator(1, purpose).random(1000) for purpose in ("split", "phantom")]
    assert abs(np.corrcoef(draws)[0, 1]) < 0.1
    assert np.array_equal(draws[0], numpy_generator(1, "split").random(1000))
