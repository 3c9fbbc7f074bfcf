"""A small result, and a headless Chromium without network that opens its page."""

import base64
import fcntl
import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct_hash import ct_sha256
from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.targets import target
from universal_diffusion.viewer import library
from universal_diffusion.volumes import Grid

SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
QUIET = ("--no-first-run", "--disable-gpu-watchdog", "--disable-background-networking", "--hide-scrollbars")
KEYS = {"PageDown": 34, "ArrowUp": 38, "ArrowDown": 40}


class Browser:
    """Chromium, driven through its debugging pipe: one JSON message a NUL byte."""

    def __init__(self, profile: Path, size: tuple[int, int]):
        (down, self._to), (self._from, up) = _pipe(), _pipe()
        command = ["chromium", "--headless=new", "--no-sandbox", *SOFTWARE_GL, *QUIET, "--remote-debugging-pipe"]
        command += [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        # Chromium reads from its file descriptor 3 and writes to 4.
        moved = ["bash", "-c", f'exec 3<&{down} 4>&{up}; exec "$@"', "bash", *command]
        self._process = subprocess.Popen(moved, pass_fds=(down, up), stderr=subprocess.DEVNULL)
        os.close(down), os.close(up)
        self._left, self._calls, self._session = b"", 0, None
        self.requests: list[str] = []
        (target,) = (one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        flat = {"targetId": target["targetId"], "flatten": True}
        self._session = self.call("Target.attachToTarget", **flat)["sessionId"]
        self.call("Network.enable")
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.call("Network.emulateNetworkConditions", **offline)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )

    def call(self, method: str, **parameters) -> dict:
        """One command of the DevTools protocol and its result."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._left:
            read = os.read(self._from, 1 << 20)
            assert read, "Chromium ended"
            self._left += read
        line, self._left = self._left.split(b"\0", 1)
        return json.loads(line)

    def open(self, page: Path) -> float:
        """Open a page and wait until it says that it is ready; seconds that took."""
        started = time.perf_counter()
        self.call("Page.navigate", url=page.as_uri())
        while (state := self.value("document.body?.dataset.state")) in (None, "loading"):
            assert time.perf_counter() - started < 120, "the page is still loading"
            time.sleep(0.05)
        assert state == "ready", self.value("document.getElementById('status').textContent")
        return time.perf_counter() - started

    def value(self, expression: str):
        """What a JavaScript expression is; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key, and wait until what it asked for is drawn."""
        code = {"windowsVirtualKeyCode": KEYS[key]} if key in KEYS else {"text": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.drawn()

    def mouse(self, kind: str, x: float, y: float, **more) -> None:
        """A mouse event at a place of the window."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
        self.drawn()

    def drawn(self) -> None:
        """Wait for the page's pending work and two frames."""
        self.value(
            "pending.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))"
        )

    def picture(self) -> np.ndarray:
        """The window as (height, width, 3) uint8."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def close(self) -> None:
        """End this Chromium."""
        self._session = None
        self.call("Browser.close")
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        os.close(self._to), os.close(self._from)


def _pipe() -> list[int]:
    """A pipe whose ends are not 3 or 4."""
    ends = os.pipe()
    lifted = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return lifted


@pytest.fixture
def browser(tmp_path_factory) -> Iterator[Browser]:
    """A Chromium window of 1280 x 800 pixels."""
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine")
    opened = Browser(tmp_path_factory.mktemp("profile"), (1280, 800))
    yield opened
    opened.close()


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> np.ndarray:
    distance = np.indices(shape) - np.array(centre)[:, None, None, None]
    return np.linalg.norm(distance, axis=0) <= radius


@pytest.fixture
def result(tmp_path, monkeypatch) -> Path:
    """A result as `segment` writes it: liver (at the patient's right), its tumour, spleen; no gallbladder."""
    try:
        library.niivue()
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    shape = (48, 40, 30)
    affine = np.array([[-2.0, 0, 0, 60], [0, 0, 3, -20], [0, -2, 0, 100], [0, 0, 0, 1]])  # axes L, I, A
    masks = {
        "liver": ball(shape, (14, 20, 15), 10),
        "liver tumor": ball(shape, (12, 20, 15), 3),
        "spleen": ball(shape, (37, 20, 15), 6),
        "gallbladder": np.zeros(shape, bool),
    }
    hu = np.where(ball(shape, (24, 20, 15), 22), 40, -1000) + 60 * masks["spleen"]
    nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), affine), "ct.nii.gz")
    targets = {}
    for name, mask in masks.items():
        slug, grid = target(name).slug, Grid(shape, affine)
        write_levels(f"{slug}.nii.gz", mask.astype(np.uint8), 1, grid)
        for kind, most in (("mean", 1), ("variance", 0.25), ("entropy", 1)):
            write_levels(f"{slug}_{kind}.nii.gz", (mask * 200).astype(np.uint8), most / 255, grid)
        millilitres = float(mask.sum()) * 0.012
        facts = {"volume_ml": millilitres, "volume_sd_ml": 0.5, "mean_hu": 40.0, "sd_hu": 0.0, "uncertainty": 0.25}
        targets[name] = {"id": target(name).id, "voxels": int(mask.sum()), **facts}
    report = {
        "version": "0.1.0",
        "ct": {
            "path": "ct.nii.gz",
            "format": "NIfTI",
            "shape": shape,
            "spacing_mm": [2, 2, 3],
            "series": None,
            "notes": [],
        },
        "identity": {"ct_sha256": ct_sha256(read_ct(Path("ct.nii.gz")))},
        "model": {"path": "models/mask_clip", "card": {"cohort": "two balls </script> <!-- of test"}},
        "sampling": {"sampler": "ddim", "steps": 10, "ensemble": 5},
        "seed": 0,
        "targets": targets,
    }
    Path("segmentation.json").write_text(json.dumps(report))
    return tmp_path


def write_levels(path: str, levels: np.ndarray, slope: float, grid: Grid) -> None:
    image = nibabel.Nifti1Image(levels, grid.affine)
    image.header.set_slope_inter(slope, 0)
    nibabel.save(image, path)
