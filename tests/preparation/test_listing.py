"""The table of what is downloaded, and the page that shows it."""

from dataclasses import replace

import pytest

from universal_diffusion.datasets import catalogue
from universal_diffusion.preparation import listing


def test_the_page_shows_the_table_as_it_is(project_root, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["listing"])
    listing.main()
    assert capsys.readouterr().out in (project_root / "docs/data.md").read_text()


def test_one_row_per_source():
    rows = listing.table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(catalogue.sources())
    assert {row.count("|") for row in rows} == {9}


@pytest.mark.parametrize(
    ("sizes", "told", "shown"),
    [
        ((10**9, 2 * 10**9), (None, None), "3.00 GB"),
        ((None, None), (1.5, 2), "about 3.5 GB"),
        ((None, None), (1.5, None), "more than 1.5 GB"),
        ((None, None), (None, None), "unknown"),
    ],
)
def test_sizes_say_how_well_they_are_known(sizes, told, shown):
    archives = tuple(catalogue.Archive("a", (), bytes=size, about_gb=gb) for size, gb in zip(sizes, told, strict=True))
    assert listing._size(replace(catalogue.entry("amos"), archives=archives)) == shown
