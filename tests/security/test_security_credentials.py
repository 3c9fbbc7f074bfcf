"""A token is in the environment, and in the header to its own host: in no command line, message, record or address."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from universal_diffusion.datasets.catalogue import Address
from universal_diffusion.errors import InputError

SECRET = "syn-pat-0123456789abcdef"
CONTENT = b"a scan" * 4000


def command_lines() -> str:
    """Of every process of this machine that may be read."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc here")
def test_no_command_line_holds_the_token_while_a_download_runs(project_copy, server, other_server):
    """A slow file behind a redirect to another host, fetched by the step as the workflow calls it."""
    project = project_copy()
    catalogue = project.folder / "src/universal_diffusion/datasets/catalogue.yaml"
    content = yaml.safe_load(catalogue.read_text())
    content["services"]["synapse"] = [server.url + "/{id}"]
    content["sources"]["btcv"]["archives"][0]["md5"] = hashlib.md5(CONTENT).hexdigest()
    catalogue.write_text(yaml.safe_dump(content))
    storage = other_server.serve("/raw", CONTENT, piece=2000, pause_s=0.1)
    server.serve("/syn3379050", status=307, headers={"Location": f"{storage}?X-Amz-Signature=feedbeef"})
    command = [sys.executable, "-m", "universal_diffusion.preparation.acquire", "--source", "btcv", "--data-root", "."]
    command += ["--settings", '{"origin": "download", "role": "train"}', "--output", "archives"]
    environment = dict(os.environ, PYTHONPATH="src", SYNAPSE_AUTH_TOKEN=SECRET)
    run = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while run.poll() is None and not other_server.asked:
        time.sleep(0.02)
    seen = command_lines()
    told = run.communicate(timeout=60)[0]
    assert run.returncode == 0, told
    assert "universal_diffusion.preparation.acquire" in seen
    assert SECRET not in seen + told
    assert server.asked[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert all("Authorization" not in asked.headers for asked in other_server.asked)
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes() or b"feedbeef" in path.read_bytes()]


@pytest.mark.parametrize(
    "url",
    [
        *("https://me:hidden@example.org/a.zip", "https://hidden@example.org/a.zip"),
        *("https://example.org/a.zip?access_token=hidden", "https://example.org/a.zip?x=1&X-Amz-Signature=hidden"),
        *("https://example.org/a.zip?api_key=hidden", "https://example.org/a.zip?Token=hidden"),
    ],
)
def test_an_address_with_a_secret_in_it_is_refused_without_repeating_it(url):
    with pytest.raises(InputError, match=r"example\.org/a\.zip: holds a password, token or signature") as caught:
        Address(url)
    assert "hidden" not in str(caught.value)


def test_a_proxys_password_is_in_no_message(tmp_path):
    code = (
        "from universal_diffusion.preparation.downloads.session import Patience, Session\n"
        "with Session(Patience(attempts=1)) as s, s.answer('http://example.org/a', None): pass"
    )
    environment = dict(os.environ, PYTHONPATH="src", HTTP_PROXY=f"http://me:{SECRET}@127.0.0.1:9", NO_PROXY="")
    environment |= {"http_proxy": environment["HTTP_PROXY"], "no_proxy": ""}
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert "cannot be reached through the proxy" in run.stderr
    assert SECRET not in run.stdout + run.stderr
