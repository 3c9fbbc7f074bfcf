"""What a study downloads: per dataset its files, their size, the credential they need, and where they lie.

    python -m universal_diffusion.preparation.listing

prints the table of docs/data.md and fetches nothing.
"""

import argparse

from universal_diffusion.datasets import catalogue

HEADER = ("source", "dataset", "labelled CTs", "files", "size", "checked by", "credential", "licence")


def table() -> str:
    """The Markdown table, one row per source of the catalogue."""
    rows = [HEADER, tuple("---" for _ in HEADER), *(_row(catalogue.entry(key)) for key in catalogue.sources())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(entry: catalogue.Entry) -> tuple[str, ...]:
    names = [f"`{archive.name}`" for archive in entry.archives]
    files = ", ".join(names) if len(names) < 3 else f"{names[0]} to {names[-1]} ({len(names)} files)"
    credential = f"`{entry.credential}`" if entry.credential else "none"
    dataset = f"[{entry.title}]({entry.page})"
    checks = _checks(entry)
    return (f"`{entry.key}`", dataset, str(entry.cases), files, _size(entry), checks, credential, entry.licence)


def _size(entry: catalogue.Entry) -> str:
    """Exact where every size is published, "about" or "more than" where it is told of all or some, else "unknown"."""
    exact = [archive.bytes for archive in entry.archives]
    if None not in exact:
        return f"{sum(exact) / 1e9:.2f} GB"
    told = [archive.about_gb for archive in entry.archives]
    known = sum(size for size in told if size is not None)
    if not known:
        return "unknown"
    return f"{'more than' if None in told else 'about'} {known:.3g} GB"


def _checks(entry: catalogue.Entry) -> str:
    kinds = {_check(archive) for archive in entry.archives}
    known = sum(value is not None for value in entry.contents.values())
    return ", ".join(sorted(kinds)) + (f"; hash of the slices of {known} patients" if known else "")


def _check(archive: catalogue.Archive) -> str:
    services = {address.service for address in archive.addresses}
    if archive.hash:
        return {"sha256": "SHA-256", "md5": "MD5"}[archive.hash[0]]
    if archive.is_collection:
        return "MD5 of each slice"
    if "zenodo" in services:
        return "MD5 of the Zenodo record"
    if "huggingface" in services:
        return "SHA-256 that Hugging Face sends"
    return "own checksums"


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(table(), end="")


if __name__ == "__main__":
    main()
