"""How web servers are asked: redirects, certificates, proxies."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from syncsam_lightning.data.sources.web_files import WebFolder
from tests.web_server import WebServer

DATA = random.Random(0).randbytes(1000)


@pytest.fixture(autouse=True)
def a_file(server: WebServer) -> None:
    (server.folder / "a.zip").write_bytes(DATA)


@pytest.fixture
def folder(server: WebServer) -> WebFolder:
    return WebFolder(server.address)


def why(folder: WebFolder) -> str:
    with pytest.raises(OSError) as error:  # noqa: PT011
        folder.read_at("a.zip", 5, 5)
    return str(error.value)


def test_where_a_server_leads_to_is_asked_from_then_on(
    server: WebServer, elsewhere: WebServer, folder: WebFolder
):
    assert (
        folder.read_at("a.zip", 5, 5) + folder.read_at("a.zip", 9, 1) == DATA[5:11][:5] + DATA[9:10]
    )
    assert len(server.requests) == 1
    assert elsewhere.ranges() == ["0-0", "5-9", "9-9"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_redirect_is_followed(
    status: int, server: WebServer, elsewhere: WebServer, folder: WebFolder
):
    server.redirect_status = status
    assert folder.read_at("a.zip", 5, 5) == DATA[5:10]


def test_an_expired_address_is_asked_for_anew(
    server: WebServer, elsewhere: WebServer, folder: WebFolder
):
    folder.size("a.zip")
    elsewhere.signature = "SECRET-2"
    assert folder.read_at("a.zip", 5, 5) == DATA[5:10]
    assert len(server.requests) == 2
    assert [request.status for request in elsewhere.requests] == [206, 403, 206]
    server.redirect_to = f"{elsewhere.address}/a.zip?signature=SECRET-1"
    elsewhere.signature = "SECRET-3"
    told = f"localhost:{elsewhere.port}, to which 127.0.0.1:{server.port} leads, refuses to give it"
    assert why(folder) == f"{told} (status 403): try again"


def test_where_nobody_answers_any_more_the_first_server_is_asked_again(
    server: WebServer, folder: WebFolder
):
    with WebServer(server.folder, host="localhost") as gone:
        server.redirect_to = gone
        folder.size("a.zip")
    server.redirect_to = None
    assert folder.read_at("a.zip", 5, 5) == DATA[5:10]


def test_an_address_may_lead_within_its_server_but_not_without_end(
    server: WebServer, folder: WebFolder
):
    server.redirect_to, server.redirects = "b.zip", 5
    (server.folder / "b.zip").write_bytes(b"0123456789")
    assert folder.size("a.zip") == 10
    server.redirects = 6
    assert "leads from address to address without end: check the address" in why(
        WebFolder(server.address)
    )


@pytest.mark.parametrize("location", ["ftp://host/SECRET", "http://[/SECRET", "https://a:SECRET@b"])
def test_an_address_that_cannot_be_followed(location: str, server: WebServer, folder: WebFolder):
    server.redirect_to = location
    told = why(folder)
    assert "leads to an address that can't be used" in told
    assert "SECRET" not in told


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    made = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    try:
        subprocess.run(
            [
                *command.split(),
                "subjectAltName=DNS:localhost",
                "-keyout",
                made,
                "-out",
                f"{made}.c",
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    made.write_text(made.read_text() + Path(f"{made}.c").read_text())
    return made


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_are_verified(
    variable: str, server: WebServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with WebServer(server.folder, host="localhost", certificate=certificate) as secure:
        told = why(WebFolder(secure.address))
        assert f"the certificate of localhost:{secure.port} can't be verified (self-sign" in told
        assert secure.requests == []
        monkeypatch.setenv(variable, f"{certificate}.c")
        assert WebFolder(secure.address).read_at("a.zip", 5, 5) == DATA[5:10]
        secure.redirect_to = server
        told = f"leads to an address on 127.0.0.1:{server.port} that is not encrypted"
        assert told in why(WebFolder(secure.address))
        assert server.requests == []
        monkeypatch.setenv(variable, "/nowhere")
        if variable == "REQUESTS_CA_BUNDLE":
            assert "(No such file or directory)" in why(WebFolder(secure.address))


def test_proxies_of_the_environment_are_asked(server: WebServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", f"http://me:pw@127.0.0.1:{server.port}")
    assert WebFolder("http://files.invalid").read_at("a.zip", 5, 5) == DATA[5:10]
    assert server.requests[0].path == "http://files.invalid/a.zip"
    assert server.said("proxy-authorization")[0] == "Basic bWU6cHc="
    assert WebFolder(server.address).size("a.zip") == len(DATA)
    assert server.requests[-1].path == "/a.zip"
    monkeypatch.setenv("no_proxy", "files.invalid")
    monkeypatch.setattr(WebFolder, "tries", 1)
    assert "its name is not known" in why(WebFolder("http://files.invalid"))
