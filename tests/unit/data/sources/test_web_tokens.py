"""Tokens go to one server each, and they and signed addresses come into no message."""

from __future__ import annotations

import pickle
import traceback
from copy import deepcopy
from typing import Any

import pytest
from urllib3.util import parse_url

from syncsam_lightning.data.sources.web_files import WebFolder
from syncsam_lightning.data.sources.web_tokens import is_loopback, is_private, token_for
from tests.web_server import WebServer


@pytest.fixture(autouse=True)
def a_file(server: WebServer) -> None:
    (server.folder / "a.zip").write_bytes(b"0123456789")


@pytest.fixture
def folder(server: WebServer) -> WebFolder:
    return WebFolder(server.address)


def own_token(environment: pytest.MonkeyPatch, server: WebServer, token: str = "SECRET-T") -> None:
    environment.setenv("SYNCSAM_TOKEN", token)
    environment.setenv("SYNCSAM_TOKEN_HOST", f"127.0.0.1:{server.port}")


def hub_token(environment: pytest.MonkeyPatch, server: WebServer, token: str = "SECRET-T") -> None:
    environment.setenv("HF_TOKEN", token)
    environment.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.port}/")


def why(folder: WebFolder) -> str:
    with pytest.raises(OSError) as error:  # noqa: PT011
        folder.read_at("a.zip", 5, 5)
    return str(error.value)


@pytest.mark.parametrize("give", [own_token, hub_token])
def test_a_token_goes_to_its_server_and_never_along_a_redirect(
    give: Any, server: WebServer, elsewhere: WebServer, folder: WebFolder, monkeypatch
):
    server.token = "SECRET-T"
    give(monkeypatch, server)
    assert folder.read_at("a.zip", 5, 5) == b"56789"
    elsewhere.signature = "SECRET-2"
    assert folder.read_at("a.zip", 5, 5) == b"56789"
    assert server.said("authorization") == ["Bearer SECRET-T"] * 2
    assert elsewhere.said("authorization") == [None] * 4


def test_another_port_of_the_same_host_is_another_server(
    server: WebServer, elsewhere: WebServer, folder: WebFolder, monkeypatch: pytest.MonkeyPatch
):
    elsewhere.host = server.host
    own_token(monkeypatch, server)
    folder.size("a.zip")
    assert (server.said("authorization"), elsewhere.said("authorization")) == (
        ["Bearer SECRET-T"],
        [None],
    )


@pytest.mark.parametrize(
    ("address", "variable"),
    [
        ("https://huggingface.co/datasets/x", "HF_TOKEN"),
        ("https://HuggingFace.co:443/datasets/x", "HF_TOKEN"),
        ("https://huggingface.co:444/datasets/x", None),
        ("http://huggingface.co/datasets/x", None),
        ("https://cdn.huggingface.co/datasets/x", None),
        ("https://huggingface.co.evil.org/x", None),
        ("https://evil.org/huggingface.co", None),
        ("https://evil.org\\huggingface.co", None),
        ("https://my.org/x", "SYNCSAM_TOKEN"),
        ("https://my.org:8443/x", None),
        ("http://my.org/x", None),
        ("http://my.org:443/x", None),
    ],
)
def test_who_sees_which_token(address: str, variable: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hub")
    monkeypatch.setenv("SYNCSAM_TOKEN", " own\n")
    monkeypatch.setenv("SYNCSAM_TOKEN_HOST", "My.Org")
    token = token_for(parse_url(address))
    assert (token and token.variable) == variable
    if variable == "SYNCSAM_TOKEN":
        assert token.value == "own"


def test_a_hub_elsewhere_takes_the_token_from_the_usual_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SYNCSAM_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hub")
    for endpoint in ("https://mirror.org/path", "no address", "http://mirror.org"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert token_for(parse_url("https://huggingface.co/x")) is None
        assert (token_for(parse_url("https://mirror.org/x")) is None) is ("path" not in endpoint)
        assert token_for(parse_url("http://mirror.org/x")) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.9.8.7/x", True),
        ("http://[::1]:80/x", True),
        ("http://LOCALHOST/x", True),
        ("http://128.0.0.1/x", False),
        ("http://localhost.org/x", False),
        ("http://127.0.0.1.org/x", False),
    ],
)
def test_what_is_on_this_machine(address: str, expected: bool):
    assert is_loopback(parse_url(address)) is is_private(parse_url(address)) is expected


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"SYNCSAM_TOKEN_HOST": ""}, "SYNCSAM_TOKEN is set, but not who may see it: set SYNCSAM"),
        ({"SYNCSAM_TOKEN_HOST": "https://SECRET"}, "is not of the form HOST or HOST:PORT"),
        ({"SYNCSAM_TOKEN_HOST": "me:SECRET@host"}, "is not of the form HOST or HOST:PORT"),
        ({"SYNCSAM_TOKEN_HOST": "host/SECRET"}, "is not of the form HOST or HOST:PORT"),
        ({"SYNCSAM_TOKEN": "SECRET SECRET"}, "SYNCSAM_TOKEN holds spaces or letters that no token"),
        ({"SYNCSAM_TOKEN": "SECRET\r\nX: y"}, "SYNCSAM_TOKEN holds spaces or letters that no tok"),
    ],
)
def test_variables_that_cannot_be_used(
    variables: dict[str, str], told: str, server: WebServer, folder: WebFolder, monkeypatch
):
    own_token(monkeypatch, server)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert told in why(folder)
    assert "SECRET" not in why(folder)
    assert server.requests == []


def test_who_asks_without_a_token_is_told_which_to_set(
    server: WebServer, folder: WebFolder, monkeypatch: pytest.MonkeyPatch
):
    server.token = "SECRET-T"
    name = f"127.0.0.1:{server.port}"
    assert why(folder) == (
        f"{name} asks who reads (status 401): set SYNCSAM_TOKEN to a token of yours and "
        f"SYNCSAM_TOKEN_HOST to {name}"
    )
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    assert why(folder) == (
        f"{name} asks who reads (status 401): set HF_TOKEN to a token of your account"
    )


def test_a_token_is_not_sent_where_others_can_listen(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
):
    # A proxy stands in for a server on another machine.
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setenv("SYNCSAM_TOKEN", "SECRET-T")
    monkeypatch.setenv("SYNCSAM_TOKEN_HOST", "files.invalid")
    server.token = "SECRET-T"
    assert why(WebFolder("http://files.invalid")) == (
        "files.invalid asks who reads (status 401), and no token is sent where others can listen: "
        "use its https:// address"
    )
    assert server.said("authorization") == [None]


def test_a_token_that_is_wrong_or_has_no_right_is_told(
    server: WebServer, folder: WebFolder, monkeypatch: pytest.MonkeyPatch
):
    hub_token(monkeypatch, server)
    name = f"127.0.0.1:{server.port}"
    server.refuse = [401]
    assert why(folder) == (
        f"{name} does not know the token in HF_TOKEN (status 401): set a valid one"
    )
    server.refuse = [403]
    assert why(folder) == (
        f"{name} does not let the owner of the token in HF_TOKEN read it (status 403): on the page "
        "of the data set, look whether its conditions must be accepted first, or set HF_TOKEN to a "
        "token of somebody who may read it"
    )


FAULTS: list[dict[str, Any]] = [
    {"refuse": [401]},
    {"refuse": [403] * 9},
    {"refuse": [404] * 9},
    {"refuse": [418]},
    {"refuse": [503] * 9},
    {"refuse": [429], "retry_after": "90000"},
    {"whole": True},
    {"cuts": 99},
    {"changes_after": 1},
    {"short": 1},
    {"encoding": "gzip"},
    {"redirect_to": "https://me:SECRET-P@host/?signature=SECRET-Q"},
    {"redirect_to": "http://localhost:1/?signature=SECRET-Q"},
    {"redirect_to": "https://localhost:1/?signature=SECRET-Q"},
    {"redirect_to": "http://[?signature=SECRET-Q"},
    {"redirect_to": "/?signature=SECRET-1"},
    {"redirect_to": "http://" + "x" * 99 + ".invalid/?signature=SECRET-Q"},
]


@pytest.mark.parametrize("at_first", [True, False], ids=["first server", "second server"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_nothing_secret_is_told(
    fault: dict[str, Any],
    at_first: bool,
    server: WebServer,
    elsewhere: WebServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("DEBUG")
    server.token = "SECRET-T"
    hub_token(monkeypatch, server)
    folder = WebFolder(server.address)
    if at_first:
        server.redirect_to = None
    if "changes_after" in fault:
        folder.size("a.zip")
    for name, value in fault.items():
        setattr(server if at_first else elsewhere, name, deepcopy(value))
    with pytest.raises(OSError) as error:  # noqa: PT011
        folder.read_at("a.zip", 5, 5)
    found = error.value
    told = [str(found), repr(found), *traceback.format_exception(found), caplog.text, repr(folder)]
    told.append(repr((pickle.dumps(found), pickle.dumps(folder))))
    assert "SECRET" not in "".join(told)
    assert "\n" not in str(found)
    assert str(pickle.loads(pickle.dumps(found))) == str(found)


def test_an_address_that_was_given_signed_is_not_told(
    server: WebServer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG")
    server.signature = "SECRET-1"
    address = f"{server.address}/a.zip?signature=SECRET-"
    assert WebFolder("http://host", {"a.zip": f"{address}1"}).size("a.zip") == 10
    assert "SECRET" not in why(WebFolder("http://host", {"a.zip": f"{address}2"})) + caplog.text
