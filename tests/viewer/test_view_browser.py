"""The page in headless Chromium without network: what is drawn where, and what keys and mouse do."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from universal_diffusion.colours import colour
from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.targets import Target, target
from universal_diffusion.viewer.layers import Column, Layer
from universal_diffusion.viewer.page import compose, reductions, write_page
from universal_diffusion.viewer.reduction import Reduction
from universal_diffusion.viewer.volumes import Shown, shown, shown_mask


@pytest.fixture
def opened(browser, result):
    browser.open(write_page(result))
    return browser


def tinted(picture: np.ndarray, name: str) -> np.ndarray:
    """Pixels of the planes in the hue of a target."""
    planes = picture[:, : picture.shape[1] - 380].astype(float)
    grey = planes.min(axis=2, keepdims=True)
    hue, wanted = planes - grey, 255 * np.array(colour(target(name)))
    wanted = (wanted - wanted.min()) / np.linalg.norm(wanted - wanted.min())
    strength = np.linalg.norm(hue, axis=2)
    return (strength > 40) & (hue @ wanted > 0.97 * strength)


def axial(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, : int(0.6 * pixels.shape[1])]


def test_the_page_in_a_browser(opened):
    """One page, for loading it takes the longest."""
    browser = opened
    assert all(url.startswith(("file:", "data:", "blob:")) for url in browser.requests)

    browser.press("x")  # the crosshair is blue, as is the liver
    picture = browser.picture()
    liver, spleen = axial(tinted(picture, "liver")), axial(tinted(picture, "spleen"))
    assert liver.sum() > 1000
    assert spleen.sum() > 1000
    width = liver.shape[1]
    # Radiological convention: the liver, at the patient's right, is at the left of the picture.
    assert np.nonzero(liver)[1].mean() < 0.45 * width
    assert np.nonzero(spleen)[1].mean() > 0.55 * width
    assert axial(tinted(picture, "liver tumor")).sum() > 100

    at = browser.value("document.getElementById('position').textContent")
    assert "40 HU" in at
    assert "liver" in at
    centre = browser.value("facts.targets.find((one) => one.name === 'liver').centre")
    assert f"S {centre[2]:.1f}" in at

    browser.press("m")
    assert axial(tinted(browser.picture(), "liver")).sum() == 0
    browser.press("m")
    assert axial(tinted(browser.picture(), "liver")).sum() == pytest.approx(liver.sum(), rel=0.05)
    browser.press("o")
    assert 50 < axial(tinted(browser.picture(), "liver")).sum() < 0.6 * liver.sum()
    browser.press("o")

    first = browser.value("nv.frac2vox(nv.scene.crosshairPos)[2]")
    browser.press("ArrowUp")
    browser.press("ArrowUp")
    browser.press("ArrowDown")
    assert browser.value("nv.frac2vox(nv.scene.crosshairPos)[2]") == first + 1
    browser.press("PageDown")
    assert browser.value("nv.frac2vox(nv.scene.crosshairPos)[2]") == first - 9
    browser.press("3")
    assert browser.value("[nv.volumes[0].cal_min, nv.volumes[0].cal_max]") == [-450, 1050]

    box = browser.value("(({x, y, width, height}) => [x, y, width, height])(canvas.getBoundingClientRect())")
    place = {"x": box[0] + 0.3 * box[2], "y": box[1] + 0.5 * box[3]}
    before = browser.value("nv.frac2vox(nv.scene.crosshairPos)[2]")
    browser.mouse("mouseMoved", **place)
    browser.mouse("mouseWheel", **place, deltaX=0, deltaY=120)
    assert abs(browser.value("nv.frac2vox(nv.scene.crosshairPos)[2]") - before) == 1
    browser.mouse("mousePressed", **place, button="left", clickCount=1)
    browser.mouse("mouseReleased", **place, button="left", clickCount=1)
    assert "sagittal" in browser.value("document.getElementById('slices').textContent")
    assert browser.value("nv.frac2vox(nv.scene.crosshairPos)[0]") == pytest.approx(24, abs=2)

    browser.value(
        "[...document.querySelectorAll('#targets tr')].find((row) => row.textContent.includes('spleen')).click()"
    )
    browser.drawn()
    assert "100 HU" in browser.value("document.getElementById('position').textContent")
    browser.press("u")
    assert "spleen: probability 0.78" in browser.value("document.getElementById('position').textContent")
    assert "spleen" in browser.value("document.getElementById('legend').textContent")
    assert axial(tinted(browser.picture(), "liver")).sum() == 0
    browser.press("u")
    assert "spleen: variance 0.19" in browser.value("document.getElementById('position').textContent")


def test_a_page_without_maps_or_anything_found_still_opens(browser, result):
    for path in [*result.glob("*_mean*"), *result.glob("*_variance*"), *result.glob("*_entropy*")]:
        path.unlink()
    for slug in ("liver", "liver_tumor", "spleen"):
        (result / "gallbladder.nii.gz").replace(result / "empty.nii.gz")
        (result / f"{slug}.nii.gz").write_bytes((result / "empty.nii.gz").read_bytes())
        (result / "empty.nii.gz").replace(result / "gallbladder.nii.gz")
    browser.open(write_page(result))
    assert browser.value("[...document.querySelectorAll('#overlays button')].map((one) => one.textContent)") == [
        "Masks"
    ]
    assert browser.value("document.getElementById('overlays').offsetParent") is None  # nothing to choose from
    browser.press("u")
    browser.press("j")
    browser.press("d")
    assert browser.value("document.body.dataset.state") == "ready"
    assert "liver" in browser.value("document.getElementById('absent').textContent")


@pytest.fixture
def compared(result) -> Path:
    """A page on which the spleen is right, the liver's truth lies elsewhere and a tumour was missed."""
    ct = read_ct(result / "ct.nii.gz")
    coarse, maps = reductions(ct.grid)
    truths = {name: nibabel.load(result / f"{target(name).slug}.nii.gz").get_fdata() for name in ("liver", "spleen")}
    layers = []
    for name, truth in truths.items():
        one = target(name)
        elsewhere = np.roll(truth, 4, axis=0) if name == "liver" else truth
        layers.append(Layer(shown(result, one, coarse, maps), 5, {"Dice %": "50.0"}, masked(elsewhere, one, coarse)))
    tumour = target("liver tumor")
    missed = masked(nibabel.load(result / "liver_tumor.nii.gz").get_fdata(), tumour, coarse)
    layers.append(Layer(masked(np.zeros(ct.grid.shape), tumour, coarse), 0, {"Dice %": "0.0"}, missed, "missed"))
    page = compose("a case", [("Part", "test")], ct.hu, layers, (Column("Dice %", "overlap"),), coarse, maps)
    (result / "case.html").write_text(page, encoding="utf-8")
    return result / "case.html"


def masked(mask: np.ndarray, one: Target, coarse: Reduction) -> Shown:
    return shown_mask(mask.astype(np.uint8), one, coarse, {})


def greys(picture: np.ndarray) -> int:
    """Pixels of the axial plane that are white or black next to a white one: a truth's line."""
    plane = axial(picture[:, : picture.shape[1] - 500])
    return int((plane.min(axis=2) > 240).sum())


def test_truths_are_lines_with_a_switch_of_their_own(browser, compared):
    browser.open(compared)
    browser.press("x")
    lines, filled = greys(browser.picture()), tinted(browser.picture(), "spleen").sum()
    click = "document.getElementById('{}').click()"
    browser.value(click.format("truths"))
    browser.drawn()
    assert greys(browser.picture()) < 0.2 * lines
    assert tinted(browser.picture(), "spleen").sum() >= filled
    browser.value(click.format("truths"))
    browser.value(click.format("all"))
    browser.drawn()
    assert greys(browser.picture()) > 0.5 * lines
    assert tinted(browser.picture(), "spleen").sum() < 0.1 * filled
    rows = browser.value(
        "[...document.querySelectorAll('#targets tr')].map((row) => row.innerText.split(/\\s+/).join(' '))"
    )
    assert [row.strip() for row in rows] == ["liver 50.0", "spleen 50.0", "liver tumor missed 0.0"]
    boxes = browser.value("[...document.querySelectorAll('#targets tr:last-child input')].map((box) => box.disabled)")
    assert boxes == [True, False]  # nothing was drawn, but the truth is there
    assert "Dice % overlap" in browser.value("document.getElementById('columns').innerText.split(/\\s+/).join(' ')")


def test_on_a_phone_the_picture_and_the_list_lie_below_each_other(browser, compared):
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.open(compared)
    assert browser.value("document.documentElement.scrollWidth") <= 390
    assert browser.value("canvas.getBoundingClientRect().width") == 390
    assert browser.value(
        "document.querySelector('aside').getBoundingClientRect().top >= canvas.getBoundingClientRect().bottom"
    )
