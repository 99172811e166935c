"""Options of object stores, for tables and sources alike."""

from __future__ import annotations

import pytest

from syncsam_lightning.data.location import TableLocation, with_patience
from syncsam_lightning.data.sources.object_store import ObjectFolder

PATIENCE = {"client_max_retries": "8", "client_retry_timeout": "120"}


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_a_local_table_has_no_options():
    assert TableLocation("folder/x.lance", {"timeout": "1s"}).open_options() is None


def test_requests_are_repeated_for_a_while_unless_options_say_otherwise():
    location = TableLocation("s3://bucket/x.lance", {"client_max_retries": "1"})
    assert location.open_options() == PATIENCE | {"client_max_retries": "1"}


@pytest.mark.parametrize("name", ["aws_endpoint", "endpoint"])
@pytest.mark.parametrize(
    ("given", "used", "allow_http"),
    [
        ({"": "http://store:9000"}, "http://store:9000", "true"),
        ({"": "https://store:9000"}, "https://store:9000", None),
        ({"": "store:9000"}, "https://store:9000", None),
        ({"": "store:9000", "allow_http": "true"}, "http://store:9000", "true"),
        ({"": "store:9000", "allow_http": "false"}, "https://store:9000", "false"),
        ({"": "http://store:9000", "allow_http": "false"}, "http://store:9000", "false"),
    ],
)
def test_an_endpoint_says_whether_it_is_encrypted(name: str, given, used: str, allow_http):
    options = with_patience({key or name: value for key, value in given.items()})
    assert (options[name], options.get("allow_http")) == (used, allow_http)


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_the_endpoint_of_amazon_is_none_of_another_store(scheme: str, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "store:9000")
    assert TableLocation(f"{scheme}://bucket/x.lance").open_options() == PATIENCE
    options = {"azure_storage_account_name": "a"} if scheme == "az" else {}
    assert ObjectFolder(f"{scheme}://bucket/x", options).where("y") == f"{scheme}://bucket/x/y"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_the_endpoint_of_the_environment_is_used_where_none_is_given(name: str, monkeypatch):
    monkeypatch.setenv(name, "http://store:9000")
    assert with_patience({}) == PATIENCE | {"allow_http": "true"}
    monkeypatch.setenv(name, "store:9000")
    assert with_patience({})["aws_endpoint"] == "https://store:9000"
    assert with_patience({"endpoint": "https://other"})["endpoint"] == "https://other"
    assert "aws_endpoint" not in with_patience({"endpoint": "https://other"})
