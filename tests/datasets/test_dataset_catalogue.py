"""The catalogue against the paper's Table 1, the taxonomy, and itself."""

import re
from pathlib import Path

import numpy as np
import pytest

from universal_diffusion.datasets.catalogue import entry, in_order, sources
from universal_diffusion.datasets.pancreas_ct import WITHDRAWN
from universal_diffusion.datasets.readers import LAYOUTS
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.paper.published import printed, read_published
from universal_diffusion.targets import all_targets

TABLE_1 = printed(read_published(Path(__file__).parents[2] / "config" / "published.csv", 1))
PAPER = [key for key in sources() if entry(key).dataset in TABLE_1.index]


def test_every_source_has_a_reader_and_targets():
    assert len(sources()) == 15
    assert {entry(key).dataset for key in sources()} == set(LAYOUTS)
    assert all(entry(key).annotated for key in sources())


def test_the_seven_training_sets_annotate_all_29_targets():
    together = in_order(name for key in PAPER for name in entry(key).annotated)
    assert together == tuple(known.name for known in all_targets())


@pytest.mark.parametrize("dataset", TABLE_1.index)
def test_a_difference_from_the_paper_is_explained(dataset):
    parts = [entry(key) for key in sources() if entry(key).dataset == dataset]
    cases = sum(part.cases for part in parts)
    structures = len(in_order(name for part in parts for name in part.annotated))
    same = (cases, structures) == tuple(TABLE_1.loc[dataset, ["cases", "structures"]])
    assert same == (parts[0].reason == "")


def test_archives_are_named_once_and_hashes_are_hashes():
    for key in sources():
        archives = entry(key).archives
        assert len({archive.name for archive in archives}) == len(archives) > 0
        for archive in archives:
            assert all(address.url.startswith(("https://", "http://")) for address in archive.addresses)
            assert archive.addresses
            assert archive.md5 is None or re.fullmatch(r"[0-9a-f]{32}", archive.md5)
            assert archive.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", archive.sha256)


def test_every_source_can_be_cited_and_its_licence_and_page_are_known():
    for key in sources():
        assert re.search(r"\((19|20)\d\d\)|(19|20)\d\d", entry(key).citation)
        assert entry(key).licence
        assert entry(key).page.startswith("http")
        assert entry(key).cases > 0


def test_only_synapse_needs_a_credential_and_services_are_addresses():
    needing = {
        key for key in sources() if any(a.service == "synapse" for b in entry(key).archives for a in b.addresses)
    }
    assert needing == {key for key in sources() if entry(key).credential} == {"btcv"}
    (raw,) = entry("btcv").archives
    assert [address.url for address in raw.addresses] == [
        "https://repo-prod.prod.sagebase.org/repo/v1/entity/syn3379050/file?redirect=true"
    ]
    assert not any("{" in a.url for key in sources() for b in entry(key).archives for a in b.addresses)


def test_the_collection_leaves_out_what_its_reader_passes_over():
    (collection,) = (archive for archive in entry("pancreas_ct").archives if archive.is_collection)
    assert [patient[-4:] for patient in collection.without] == list(WITHDRAWN)


def test_kits_pins_whole_revisions():
    pinned = {match for a in entry("kits23").archives for match in re.findall(r"/([0-9a-f]{8,})/", a.addresses[0].url)}
    assert {len(revision) for revision in pinned} == {40}


def test_known_contents_name_every_patient_and_are_hashes():
    contents = entry("ircadb").contents
    assert list(contents) == [f"3Dircadb1.{number}" for number in range(1, 21)]
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in contents.values() if value is not None)


def test_slices_of_every_ircadb_patient_are_known():
    slices = entry("ircadb").slices
    assert list(slices) == list(entry("ircadb").contents)
    assert sum(slices.values()) == 2823
    assert (slices["3Dircadb1.1"], slices["3Dircadb1.17"]) == (129, 119)


def test_kits_lists_scan_and_mask_of_each_case():
    names = [archive.name for archive in entry("kits23").archives]
    assert len(names) == 2 * 489
    assert "dataset/case_00588/imaging.nii.gz" in names
    assert not any("case_00300" in name for name in names)


def test_tumours_lie_in_their_organ_except_in_hepatic_vessel():
    assert entry("msd03").labels[2] == ("liver tumor", "liver")
    assert entry("kits23").labels[2] == ("kidney tumor", "kidneys")
    assert entry("msd08").labels[2] == ("hepatic vessel tumor",)


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("liver", ("liver",)),
        ("livertumor", ("liver tumor", "liver")),
        ("livertumor07", ("liver tumor", "liver")),
        ("livertumors", ("liver tumor", "liver")),
        ("rightsurrenalGland", ("right adrenal gland",)),
        ("surrenalgland", ("adrenal glands",)),
        ("venacava", ("inferior vena cava",)),
        ("kidneys", ("kidneys",)),
        ("livercyst", ()),
        ("liverkyst", ()),
        ("liverkyste", ()),
        ("tumor", ()),
        ("leftsurretumor", ()),
        ("portalvein1", ()),
        ("artery", ()),
        ("pituitary", None),
    ],
)
def test_trap_ircadb_tumor_of_patient_7_is_adrenal_and_cysts_are_no_tumours(name, targets):
    assert entry("ircadb").structure_targets(name) == targets


@pytest.mark.real_data
def test_every_ircadb_folder_name_of_patients_1_to_19_is_known(real_data):
    rows = np.loadtxt(real_data / "3dircadb" / "structures.csv", dtype=str, delimiter=",", skiprows=1)
    assert [name for name in set(rows[:, 1]) if entry("ircadb").structure_targets(name) is None] == []


@pytest.mark.parametrize(
    "name", ["vertebrae_T12", "rib_left_1", "lung_vessels", "iliac_vena_left", "femur_left", "autochthon_right", "face"]
)
def test_totalsegmentator_names_that_are_no_target(name):
    assert entry("totalsegmentator").structure_targets(name) == ()


@pytest.mark.parametrize("name", ["spleen_left", "kidney", "vertebrae_X1", "rib_middle_1", "liver_tumor", "hip"])
def test_totalsegmentator_names_that_nobody_knows(name):
    assert entry("totalsegmentator").structure_targets(name) is None


@pytest.mark.real_data
@pytest.mark.parametrize("case", ["s0009", "example_ct"])
def test_every_totalsegmentator_file_name_is_known(real_data, case):
    files = [path.name.removesuffix(".nii.gz") for path in (real_data / "totalsegmentator" / case).glob("seg*/*.gz")]
    assert len(files) > 100
    assert [name for name in files if entry("totalsegmentator").structure_targets(name) is None] == []


def test_unknown_source_names_the_nearest():
    with pytest.raises(InputError, match="nearest: msd03"):
        entry("mds03")
