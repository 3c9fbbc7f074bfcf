"""A token goes to the host it is for, and to no other host, log, report, record or command line."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from universal_diffusion.datasets.catalogue import Address, Archive
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.downloads.mirrors import fetch

CONTENT = b"a scan" * 1000
SECRET, SIGNATURE = "syn-pat-0123456789abcdef", "X-Amz-Signature=feedbeef"


@pytest.fixture
def raw_data(toy):
    """Makes the entry of one archive at these addresses, of which those of the service need a token."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()

    def entry(*addresses: Address):
        return toy(Archive("RawData.zip", addresses, sha256=sha256), credential="TOY_TOKEN")

    return entry


def sent_tokens(server) -> list[str | None]:
    return [asked.headers.get("Authorization") for asked in server.asked]


def test_the_token_is_sent_to_the_service_and_not_to_the_storage_it_redirects_to(
    server, other_server, raw_data, hasty, tmp_path, monkeypatch
):
    monkeypatch.setenv("TOY_TOKEN", f"  {SECRET}\n")
    storage = other_server.serve("/bucket/raw", CONTENT, cuts=[1000])
    server.serve("/entity/syn1/file", status=307, headers={"Location": f"{storage}?{SIGNATURE}"})
    place = fetch(raw_data(Address(f"{server.url}/entity/syn1/file", "synapse")), tmp_path, hasty)["RawData.zip"].path
    assert place.read_bytes() == CONTENT
    assert sent_tokens(server) == [f"Bearer {SECRET}"] * 2  # a signed address ages: the break asks for a new one
    assert sent_tokens(other_server) == [None, None]
    assert other_server.asked[1].headers["Range"] == "bytes=1000-"


def test_a_plain_mirror_gets_no_token(server, raw_data, hasty, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_TOKEN", SECRET)
    fetch(raw_data(Address(server.serve("/raw", CONTENT))), tmp_path, hasty)
    assert sent_tokens(server) == [None]


def test_no_credential_is_taken_from_netrc(server, other_server, raw_data, hasty, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login person password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    there = other_server.serve("/raw", CONTENT)
    first = server.serve("/first", status=302, headers={"Location": there})
    fetch(raw_data(Address(first)), tmp_path / "data", hasty)
    assert sent_tokens(server) + sent_tokens(other_server) == [None, None]


@pytest.mark.parametrize(("status", "reason"), [(401, "Unauthorized"), (403, "Forbidden")])
def test_a_refused_token_says_what_may_be_wrong_and_where_to_put_the_file(
    server, raw_data, hasty, tmp_path, monkeypatch, status, reason
):
    monkeypatch.setenv("TOY_TOKEN", SECRET)
    server.serve("/file", f'{{"reason": "{SECRET}"}}'.encode(), status=status)
    with pytest.raises(InputError) as caught:
        fetch(raw_data(Address(f"{server.url}/file", "synapse")), tmp_path, hasty)
    assert f"HTTP {status} {reason}: the token is not valid there, or its account has not accepted" in str(caught.value)
    assert str(tmp_path / "RawData.zip") in caught.value.remedy
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nbreak", "non-äscii"])
def test_a_token_that_is_none_is_told_without_its_text(server, raw_data, hasty, tmp_path, monkeypatch, token):
    monkeypatch.setenv("TOY_TOKEN", token)
    with pytest.raises(InputError, match=r"needs a (personal )?token.* TOY_TOKEN.*put it at .*RawData\.zip") as caught:
        fetch(raw_data(Address(f"{server.url}/file", "synapse")), tmp_path, hasty)
    assert not token.strip() or token not in str(caught.value)
    assert server.asked == []


def test_signed_addresses_and_tokens_stay_out_of_errors(server, other_server, raw_data, hasty, tmp_path, monkeypatch):
    """Whatever goes wrong behind the redirect: refused, gone, in circles, cut, dead."""
    monkeypatch.setenv("TOY_TOKEN", SECRET)
    behind = ["/absent", "/loop", "/cut"]
    other_server.serve("/loop", status=302, headers={"Location": f"/loop?{SIGNATURE}"})
    other_server.serve("/cut", CONTENT, cuts=[0, 0, 0])
    places = [f"{other_server.url}{path}?{SIGNATURE}" for path in behind] + [f"http://127.0.0.1:9/dead?{SIGNATURE}"]
    for number, place in enumerate(places):
        server.serve(f"/{number}", status=302, headers={"Location": place})
    addresses = [Address(f"{server.url}/{number}", "synapse") for number in range(len(places))]
    with pytest.raises(InputError) as caught:
        fetch(raw_data(*addresses), tmp_path, hasty)
    assert caught.value.problem.count("http://") == len(places)
    assert not any(secret in str(caught.value) for secret in (SECRET, SIGNATURE, str(other_server.port)))


def everything_written(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("status", [200, 403])
def test_a_run_of_the_workflow_writes_the_token_nowhere(project_copy, server, other_server, monkeypatch, status):
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", SECRET)
    project = project_copy()
    catalogue = project.folder / "src/universal_diffusion/datasets/catalogue.yaml"
    content = yaml.safe_load(catalogue.read_text())
    content["services"]["synapse"] = [server.url + "/entity/{id}/file?redirect=true"]
    content["sources"]["btcv"]["archives"][0]["md5"] = hashlib.md5(CONTENT).hexdigest()
    catalogue.write_text(yaml.safe_dump(content))
    storage = other_server.serve("/raw", CONTENT, status=status)
    server.serve("/entity/syn3379050/file", status=307, headers={"Location": f"{storage}?{SIGNATURE}"})
    study = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    study["sources"]["btcv"] = {"origin": "download", "role": "train"}
    (project.folder / "study.yaml").write_text(yaml.safe_dump(study | {"study": "secret"}))
    target = "results/secret/archives/btcv"
    run = project.snakemake("--cores", "1", "--printshellcmds", "--configfile", "study.yaml", "--", target)
    assert (run.returncode == 0) == (status == 200), run.stderr
    if status == 200:
        report_provenance(project.folder, target, study | {"study": "secret"})
    written = everything_written(project.folder) + run.stdout + run.stderr
    assert "RawData.zip" in written
    assert SECRET not in written
    assert SIGNATURE not in written
    assert sent_tokens(server) == [f"Bearer {SECRET}"]
    assert sent_tokens(other_server) == [None]


def report_provenance(folder: Path, archives: str, study: dict) -> None:
    flags = ["--artefacts", "study.yaml", "--origins", f"{archives}/origin.json", "--study", json.dumps(study)]
    outputs = ["--output", "provenance.json", "--output-machine", "machine.json"]
    command = [sys.executable, "-m", "universal_diffusion.evaluation.tracing.provenance", *flags, *outputs]
    environment = dict(os.environ, PYTHONPATH="src")
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    assert "RawData.zip" in (folder / "provenance.json").read_text()


def test_no_secret_is_a_field_of_what_travels():
    names = {field.name for field in dataclasses.fields(Archive)} | {
        field.name for field in dataclasses.fields(Address)
    }
    assert not names & {"token", "credential", "headers"}
