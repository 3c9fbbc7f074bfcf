"""niivue as the build put it into the package (`hatch_build.py`), of the version that is locked there."""

import hashlib
from importlib.resources import files

from universal_diffusion.errors import InputError

BUNDLE, LICENCES = "niivue.umd.js", "niivue.licences.txt"


def niivue() -> tuple[str, str]:
    """The script that defines the global `niivue`, and the licences of all that is in it.

    Raises:
        InputError: it was not fetched when the package was installed, or is another version than the locked one.
    """
    viewer = files("universal_diffusion.viewer")
    wanted = (viewer / "npm" / f"{BUNDLE}.sha256").read_text(encoding="utf-8").split()[0]
    bundle, licences = viewer / BUNDLE, viewer / LICENCES
    remedy = "install the package again where an npm registry can be reached: pip install --no-deps -e ."
    if not (bundle.is_file() and licences.is_file()):
        raise InputError(bundle, "is missing, the page is drawn with it", remedy)
    script = bundle.read_bytes()
    if hashlib.sha256(script).hexdigest() != wanted:
        raise InputError(bundle, f"is not the version whose hash npm/{BUNDLE}.sha256 records", remedy)
    return script.decode("utf-8"), licences.read_text(encoding="utf-8")
