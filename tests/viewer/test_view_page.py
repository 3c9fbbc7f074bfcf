"""The page of a result: what is embedded in it, and that it is the same whenever it is made."""

import base64
import gzip
import json
import re
import shutil

import nibabel
import numpy as np
import pytest

from universal_diffusion import cli
from universal_diffusion.colours import colour
from universal_diffusion.errors import InputError
from universal_diffusion.targets import target
from universal_diffusion.viewer import library, page
from universal_diffusion.viewer.page import write_page


def embedded(text: str, name: str) -> str:
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', text, re.DOTALL).group(1)


def volume(text: str, name: str) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(embedded(text, name))))


def placed(image: nibabel.Nifti1Image, like: nibabel.Nifti1Image) -> np.ndarray:
    """A box of a volume put back where its affine says."""
    start = np.rint(np.linalg.inv(like.affine) @ image.affine[:, 3])[:3].astype(int)
    whole = np.zeros(like.shape)
    whole[tuple(slice(first, first + n) for first, n in zip(start, image.shape, strict=True))] = image.get_fdata()
    return whole


def test_volumes_in_the_page_are_those_of_the_result(result):
    text = write_page(result).read_text(encoding="utf-8")
    ct = nibabel.load(result / "ct.nii.gz")
    assert np.array_equal(volume(text, "ct").get_fdata(), ct.get_fdata())
    assert np.allclose(volume(text, "ct").affine, ct.affine, atol=1e-4)
    for name in ("liver", "spleen"):
        mask = nibabel.load(result / f"{name}.nii.gz")
        assert np.array_equal(placed(volume(text, f"mask-{target(name).id}"), ct), mask.get_fdata())
    for kind in ("mean", "variance", "entropy"):
        written = nibabel.load(result / f"liver_{kind}.nii.gz").get_fdata()
        assert np.allclose(placed(volume(text, f"{kind}-6"), ct), written, atol=1e-6)
    assert 'id="mask-4"' not in text  # gallbladder: nothing found


def test_facts_in_the_page_are_those_of_the_report(result):
    facts = json.loads(embedded(write_page(result).read_text(encoding="utf-8"), "facts"))
    report = json.loads((result / "segmentation.json").read_text())
    liver = next(one for one in facts["targets"] if one["name"] == "liver")
    known = report["targets"]["liver"]
    assert [name for name, _ in facts["columns"]] == ["ml", "± sd", "bits"]
    assert liver["figures"] == [
        f"{known['volume_ml']:.1f}",
        f"{known['volume_sd_ml']:.1f}",
        f"{known['uncertainty']:.2f}",
    ]
    assert np.allclose(np.array(liver["colour"]) / 255, colour(target("liver")), atol=1 / 255)
    assert [one["found"] for one in facts["targets"]] == [True, False, True, True]  # gallbladder: not found
    assert facts["layers"] == [6, 1, 25]  # the tumour last, so that the liver does not hide it
    assert facts["largest"] == 6
    assert dict(facts["made"])["Trained on"] == "two balls </script> <!-- of test"
    mm = [*liver["centre"], 1]
    voxel = np.rint(np.array(facts["to_voxels"]) @ mm).astype(int)
    assert nibabel.load(result / "liver.nii.gz").get_fdata()[tuple(voxel)] == 1
    world = nibabel.load(result / "ct.nii.gz").affine[:3, facts["file_axes"]]
    assert (np.abs(world).argmax(axis=0) == [0, 1, 2]).all()


def test_columns_without_a_figure_are_left_out(result):
    report = json.loads((result / "segmentation.json").read_text())
    for known in report["targets"].values():
        known["volume_sd_ml"] = None
    (result / "segmentation.json").write_text(json.dumps(report))
    facts = json.loads(embedded(write_page(result).read_text(encoding="utf-8"), "facts"))
    assert [name for name, _ in facts["columns"]] == ["ml", "bits"]
    assert {len(one["figures"]) for one in facts["targets"]} == {2}


def test_entropy_follows_from_the_mean_where_a_result_keeps_none(result):
    ct = nibabel.load(result / "ct.nii.gz")
    mean = nibabel.load(result / "liver_mean.nii.gz").get_fdata()
    (result / "liver_entropy.nii.gz").unlink()
    found = placed(volume(write_page(result).read_text(encoding="utf-8"), "entropy-6"), ct)
    inside = mean[mean > 0]
    bits = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    assert np.allclose(found[mean > 0], bits, atol=0.5 / 255 + 1e-6)
    assert found[mean == 0].max() == 0


def test_page_loads_nothing_and_repeats_itself(result, tmp_path):
    text = write_page(result).read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    ours = text.replace(library.niivue()[0], "").replace(library.niivue()[1], "")
    assert "http" not in ours.replace("http-equiv", "")
    assert not re.search(r"<(link|img|iframe|object|embed|source|script)\b[^>]*\b(src|href)=", ours)
    copy = shutil.copytree(result, tmp_path / "elsewhere")
    assert write_page(copy).read_text(encoding="utf-8") == text
    assert str(result) not in text


def test_large_cts_are_reduced_unless_all_is_wanted(result, monkeypatch):
    whole = write_page(result, full=True).read_text(encoding="utf-8")
    monkeypatch.setattr(page, "CT_VOXELS", 20_000)
    small = write_page(result).read_text(encoding="utf-8")
    assert volume(whole, "ct").shape == nibabel.load(result / "ct.nii.gz").shape
    assert np.prod(volume(small, "ct").shape) <= 20_000
    assert "shown here in blocks of 2 x 2 x 1" in json.loads(embedded(small, "facts"))["described"]
    assert "blocks" not in json.loads(embedded(whole, "facts"))["described"]
    monkeypatch.setattr(page, "CT_VOXELS", 1)
    write_page(result, full=True)


def test_multilabel_file_serves_where_there_are_no_single_masks(result):
    spleen = nibabel.load(result / "spleen.nii.gz")
    labels = (target("spleen").id * spleen.get_fdata()).astype(np.uint8)
    for slug in ("liver", "liver_tumor", "spleen", "gallbladder"):
        (result / f"{slug}.nii.gz").unlink()
    nibabel.save(nibabel.Nifti1Image(labels, spleen.affine), result / "segmentation.nii.gz")
    text = write_page(result).read_text(encoding="utf-8")
    assert volume(text, "mask-1").get_fdata().sum() == spleen.get_fdata().sum()
    assert 'id="mask-6"' not in text


def test_package_without_niivue_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(library, "LICENCES", "absent.txt")
    with pytest.raises(InputError, match=r"is missing.*pip install"):
        library.niivue()


def test_view_command_writes_the_page_and_prints_where(result, capsys):
    cli.main(["view", str(result), "--ct", str(result / "ct.nii.gz"), "--no-browser"])
    assert capsys.readouterr().out.strip() == str(result / "view.html")
    assert (result / "view.html").stat().st_size > 2_000_000
