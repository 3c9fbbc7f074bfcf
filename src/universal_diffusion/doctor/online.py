"""Whether the servers of what is still to be fetched answer: only when asked, without credentials or downloads."""

import re
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from urllib.parse import urlsplit

import requests

from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.doctor.sources import is_fetched
from universal_diffusion.preparation.downloads.failures import Failure, of_network

WAIT_S = 8.0
REMEDY = "a proxy (HTTPS_PROXY), another network, or files fetched by hand (docs/data.md)"


def check_online(asked: Asked) -> list[Finding]:
    """How many servers answer, and whose archives or weights none of their servers would give."""
    wanted = {name: addresses for name, addresses in _addresses(asked).items() if addresses}
    places = sorted({place for servers in wanted.values() for place in servers})
    with ThreadPoolExecutor(max(len(places), 1)) as pool:
        answers = dict(zip(places, pool.map(trouble, places), strict=True))
    return summary(wanted, answers)


def summary(wanted: dict[str, set[str]], answers: dict[str, str | None]) -> list[Finding]:
    """One line if all servers answer, two if not.

    Args:
        wanted: the servers of each download, one of which is enough.
        answers: what keeps each server from answering, None if nothing does.
    """
    silent = {server: why for server, why in answers.items() if why}
    told = f"{len(answers) - len(silent)} of {len(answers)} servers answer"
    lost = [name for name, servers in wanted.items() if servers <= silent.keys()]
    if not silent:
        return [Finding("online", told)]
    hosts = {why: [urlsplit(server).netloc for server in silent if silent[server] == why] for why in silent.values()}
    reasons = "; ".join(f"{why}: {', '.join(names)}" for why, names in hosts.items())
    why = Finding("online", f"{told}; {reasons}", "note")
    return [why, Finding("online", f"no server for {', '.join(lost)}", "missing", REMEDY)] if lost else [why]


def _addresses(asked: Asked) -> dict[str, set[str]]:
    """The servers of each download that is not there yet, as `https://host`."""
    found = {}
    for name, source in asked.study.sources.items():
        if source.origin == "download" and not is_fetched(name, asked):
            archives = entry_of(name, asked.data_root).archives
            found[name] = {server_of(place.url) for archive in archives for place in archive.addresses}
    if asked.study.weights.origin == "download" and not (asked.results / "pretrained" / "card.json").exists():
        text = files("universal_diffusion.method").joinpath("pretrained.py").read_text(encoding="utf-8")
        for url in re.findall(r'"(https://[^"]+)"', text):  # importing it would load PyTorch
            found[f"the weights of {urlsplit(url).netloc}"] = {server_of(url)}
    return found


def server_of(url: str) -> str:
    """Scheme, host and port of an address."""
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


def trouble(server: str) -> str | None:
    """Why a server does not answer, None if it does, whatever it answers."""
    try:
        requests.head(f"{server}/", timeout=WAIT_S, auth=lambda request: request)  # which keeps ~/.netrc closed
    except requests.TooManyRedirects:
        return None
    except requests.RequestException as error:
        failure: Failure = of_network(error)
        return str(failure)
    return None
