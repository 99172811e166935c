"""Options of object stores, for tables and sources alike."""

from __future__ import annotations

import os

import pytest

from syncsam_lightning.data.conversion import Target
from syncsam_lightning.data.location import TableLocation, with_patience
from syncsam_lightning.data.sources.object_store import ObjectFolder
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import TableError

PATIENCE = {"client_max_retries": "8", "client_retry_timeout": "120"}


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)


def test_a_local_table_has_no_options():
    assert TableLocation("folder/x.lance", {"timeout": "1s"}).open_options() is None


def test_requests_are_repeated_for_a_while_unless_options_say_otherwise():
    location = TableLocation("s3://bucket/x.lance", {"client_max_retries": "1"})
    assert location.open_options() == PATIENCE | {"client_max_retries": "1"}


NAMES = [
    *("aws_endpoint_url_s3", "aws_endpoint", "aws_endpoint_url"),
    *("endpoint_url_s3", "endpoint", "endpoint_url", "AWS_ENDPOINT"),
]


@pytest.mark.parametrize("name", NAMES)
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
    assert (options["aws_endpoint_url_s3"], options.get("allow_http")) == (used, allow_http)
    again = with_patience({key or name: value for key, value in given.items()}, "S3://bucket/x")
    assert again == options


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_the_endpoint_of_amazon_is_none_of_another_store(scheme: str, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "store:9000")
    assert TableLocation(f"{scheme}://bucket/x.lance").open_options() == PATIENCE
    options = {"azure_storage_account_name": "a"} if scheme == "az" else {}
    assert ObjectFolder(f"{scheme}://bucket/x", options).where("y") == f"{scheme}://bucket/x/y"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_the_endpoint_of_the_environment_is_used_where_none_is_given(name: str, monkeypatch):
    monkeypatch.setenv(name, "http://store:9000")
    found = {"aws_endpoint_url_s3": "http://store:9000", "allow_http": "true"}
    assert with_patience({}) == PATIENCE | found
    monkeypatch.setenv(name, "store:9000")
    assert with_patience({})["aws_endpoint_url_s3"] == "https://store:9000"


GIVEN = {
    "aws_region": "here",
    "aws_access_key_id": "a",
    "aws_secret_access_key": "b",
    "client_max_retries": "0",
}


@pytest.mark.parametrize("given", NAMES)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_an_endpoint_that_is_given_comes_before_that_of_the_environment(
    name: str, given: str, monkeypatch
):
    monkeypatch.setenv(name, "http://127.0.0.1:7")
    options = GIVEN | {given: "http://127.0.0.1:9"}
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
        ObjectFolder("s3://bucket/x", options).list("")
    with pytest.raises(TableError, match=r"127\.0\.0\.1:9"):
        Table("s3://bucket/x.lance", options).exists()


def test_a_store_is_told_by_what_it_is_reached_by(monkeypatch):
    def work(uri: str, **options: str):
        return Target(f"{uri}://bucket/x.lance", options).work

    plain = [work("s3"), work("gs"), work("az")]
    one = work("s3", aws_endpoint="http://one")
    assert one != plain[0]
    assert work("s3", endpoint_url="http://one") == one
    account = work("az", azure_storage_account_name="one")
    assert account != plain[2]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "one")
    assert [work("s3"), work("gs"), work("az")] == [one, plain[1], account]
