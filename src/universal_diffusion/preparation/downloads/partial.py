"""The part of a file that has arrived, kept beside its place with what identifies the version it is a part of."""

import json
from glob import escape
from hashlib import sha256
from pathlib import Path

from universal_diffusion.files import write_json


class Partial:
    """What has arrived of the file at `url`, which is to become `place`.

    Every address has its own, so that mirrors which pack a file differently do not undo each other's work.
    """

    def __init__(self, place: Path, url: str):
        self.path = place.with_name(f".{place.name}.{sha256(url.encode()).hexdigest()[:8]}.partial")
        self._version = self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def range_headers(self) -> dict[str, str]:
        """Headers that ask for the rest if the file is still the same, and else for all of it."""
        validator = self._validator()
        return {"Range": f"bytes={self.size}-", "If-Range": validator} if self.size and validator else {}

    def begin(self, etag: str | None, modified: str | None) -> None:
        """Start anew with the version that these headers name; a weak ETag names none (RFC 9110, section 13.1.5)."""
        self.discard()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        strong = etag if etag and not etag.startswith("W/") else None
        write_json(self._version, {"validator": strong or modified})

    def discard(self) -> None:
        """Forget what has arrived."""
        self.path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)

    def publish(self, place: Path) -> None:
        """Put the whole file in its place, and remove what other mirrors left."""
        self.path.replace(place)
        for leftover in place.parent.glob(f".{escape(place.name)}.????????.partial*"):
            leftover.unlink(missing_ok=True)

    def _validator(self) -> str | None:
        try:
            return json.loads(self._version.read_text(encoding="utf-8"))["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
