"""Fuzz what reads files from strangers, led by coverage: `make fuzz`, or

    PYTHONPATH=.fuzz:src .venv/bin/python tests/security/fuzz.py KIND SECONDS

Atheris (libFuzzer) changes a small valid file of the kind and keeps every change that reaches new code of this library,
nibabel or pydicom. It ends at the first fault, or with the
number of files that were tried. The file of a fault is `.fuzz/crash-*`.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import atheris

READERS = [
    "filereader",
    "fileutil",
    "dataset",
    "dataelem",
    "values",
    "encaps",
    "sequence",
]  # all of pydicom takes a minute
INCLUDED = ["universal_diffusion", "nibabel", "tarfile", "pyzipper", *(f"pydicom.{name}" for name in READERS)]
with atheris.instrument_imports(include=INCLUDED):
    import strangers

KIND, SECONDS = sys.argv[1:3]
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def try_one(content: bytes) -> None:
    """Read one changed file in a folder of its own."""
    folder = FOLDER / "given"
    folder.mkdir()
    try:
        strangers.read(KIND, content, folder)
    finally:
        shutil.rmtree(folder)


corpus = FOLDER / "corpus"
corpus.mkdir()
(corpus / "valid").write_bytes(strangers.KINDS[KIND][0]())
print(f"{KIND}: {SECONDS} s", flush=True)
limits = ["-rss_limit_mb=2500", "-timeout=30", "-max_len=20000", "-print_final_stats=1", "-verbosity=0"]
kept = f"-artifact_prefix={Path('.fuzz').resolve()}/"
atheris.Setup([sys.argv[0], *limits, kept, f"-max_total_time={SECONDS}", "-seed=1", str(corpus)], try_one)
atheris.Fuzz()
