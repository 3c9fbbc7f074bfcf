"""Changed files of every kind that strangers send: a sound CT or one line, nothing outside of their folder.

`make test` tries EXAMPLES of each of the kinds in `strangers.py`; FUZZ_EXAMPLES in the environment tries more, and
`make fuzz` tries as many as its time allows, led by coverage.
"""

import importlib.util
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.preparation.extraction import extract

spec = importlib.util.spec_from_file_location("strangers", Path(__file__).with_name("strangers.py"))
strangers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(strangers)

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
WHOLE = {kind: valid() for kind, (valid, _) in strangers.KINDS.items()}


@st.composite
def changed(draw, content: bytes) -> bytes:
    """One to three cuts, flips, insertions or overwritten numbers."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(changed)))
        match draw(st.sampled_from(["cut", "flip", "insert", "number"])):
            case "cut":
                del changed[at : at + draw(st.integers(1, 400))]
            case "flip":
                changed[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "insert":
                changed[at:at] = draw(st.binary(max_size=20))
            case "number":
                changed[at : at + 4] = draw(
                    st.sampled_from([b"\xff" * 4, bytes(4), b"\0\0\0\x80", b"\xff\xff\xff\x7f"])
                )
    return bytes(changed)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_is_read(kind, tmp_path):
    """Or nothing would be proved by the next test."""
    strangers.KINDS[kind][1](WHOLE[kind], tmp_path)


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_file_is_read_or_refused_in_one_line(kind, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strangers.read(kind, data.draw(changed(WHOLE[kind])), folder)
    shutil.rmtree(folder)


def test_a_zip_whose_member_has_no_name_is_damaged(tmp_path):
    """Found by `make fuzz`."""
    member = zipfile.ZipInfo("a")
    member.filename = ""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr(member, b"text")
    with pytest.raises(InputError, match="is truncated or damaged"):
        extract(tmp_path / "a.zip", tmp_path / "inside", None)


def test_a_message_cannot_command_the_terminal(tmp_path, capsys):
    """Escape sequences of a file's name or a header are shown as what they are not obeyed for."""

    @one_line_errors
    def main() -> None:
        raise InputError(tmp_path / "\x1b]0;owned\x07\x1b[2J", "is\nbad\r", "stop\u202e")

    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.rstrip("\n").isprintable()
