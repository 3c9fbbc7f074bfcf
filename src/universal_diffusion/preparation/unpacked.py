"""A native tree as `unpack` left it: its files' hashes in `SHA256SUMS`, compared before a case is read.

A format's own checksum, where it has one, is not enough: uncompressed DICOM has none.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from universal_diffusion.checksums import read_sums
from universal_diffusion.datasets.base import Case, Reader
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256
from universal_diffusion.preparation.folders import visible_tree


@dataclass(frozen=True)
class Unpacked:
    """The cases of a native tree that `unpack` made in `root` (`base.Reader`), each compared before it is read."""

    native: Reader
    root: Path

    def cases(self) -> tuple[str, ...]:
        return self.native.cases()

    def paths(self, case: str) -> tuple[Path, ...]:
        return self.native.paths(case)

    def read(self, case: str) -> Case:
        self.check(self.paths(case))
        return self.native.read(case)

    def check(self, paths: Iterable[Path]) -> None:
        """Compare files, and folders with all in them. Raises InputError for one that is altered, missing or new."""
        for path in paths:
            name = path.relative_to(self.root).as_posix()
            inside = {f"{name}/{below.as_posix()}" for below in visible_tree(path)} if path.is_dir() else {name}
            for file in sorted(inside | self._known_below(name)):
                self._check_file(file)

    def _check_file(self, name: str) -> None:
        path, known = self.root / name, self._sums.get(name)
        if known is None:
            raise self._refusal(path, "was not there when its tree was unpacked")
        try:
            found = sha256(path)
        except OSError as error:
            raise self._refusal(path, f"cannot be read ({error.strerror})") from None
        if found != known:
            raise self._refusal(path, f"has SHA-256 {found}, but {known} when its tree was unpacked")

    def _refusal(self, path: Path, problem: str) -> InputError:
        if not path.is_symlink():
            return InputError(path, problem, self._remedy)
        target = path.resolve()
        remedy = f"put {target} back as it was; or delete the source's archives/ and run again: `acquire` takes it anew"
        return InputError(path, problem, remedy)

    @property
    def _remedy(self) -> str:
        return f"delete {self.root} and run again: rule `unpack` remakes it"

    @cached_property
    def _sums(self) -> dict[str, str]:
        return read_sums(self.root, self._remedy)

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self._sums)

    def _known_below(self, name: str) -> set[str]:
        """Names of the files that the folder `name` held; the file itself if it was one."""
        first, last = (bisect_left(self._names, f"{name}{end}") for end in ("/", "0"))  # "0" follows "/" in ASCII
        return {*self._names[first:last], *({name} & self._sums.keys())}


def unpacked(source: str, root: Path) -> Unpacked:
    """The reader of a source in the tree that `unpack` made of it. Raises InputError as `readers.reader` does."""
    return Unpacked(reader(source, root), root)
