"""The page in headless Chromium without network: what is drawn where, and what keys and mouse do."""

import numpy as np
import pytest

from universal_diffusion.colours import colour
from universal_diffusion.targets import target
from universal_diffusion.viewer.page import write_page


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
    assert browser.value("[...document.querySelectorAll('#overlays button')].map((one) => one.disabled)") == [
        False,
        True,
        True,
        True,
    ]
    browser.press("u")
    browser.press("j")
    browser.press("d")
    assert browser.value("document.body.dataset.state") == "ready"
    assert "liver" in browser.value("document.getElementById('absent').textContent")
