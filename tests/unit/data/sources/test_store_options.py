"""Options and addresses of object stores that are refused before anything is asked for."""

from __future__ import annotations

import pytest

from syncsam_lightning.data.sources import open_source
from syncsam_lightning.data.sources.object_store import StorageOptionError
from syncsam_lightning.errors import DatasetNotFoundError


def test_half_of_the_credentials_is_told():
    expected = "Missing SecretAccessKey.*credentials from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS"
    with pytest.raises(StorageOptionError, match=expected):
        open_source("s3://bucket/x", {"aws_access_key_id": "a"})


@pytest.mark.parametrize("address", ["s3://", "s3:///x", "gs://b ucket/x", "s3://a:b@bucket/x"])
def test_an_address_without_a_bucket_is_told(address: str):
    with pytest.raises(DatasetNotFoundError, match="names no bucket; expected SCHEME://BUCKET"):
        open_source(address)


def test_an_unknown_option_is_told():
    with pytest.raises(StorageOptionError, match="no storage option 'nonsense' for s3://; there"):
        open_source("s3://bucket/x", {"nonsense": "x"})


@pytest.mark.parametrize("name", ["timeout", "connect_timeout"])
def test_a_timeout_that_is_no_time_is_told(name: str):
    with pytest.raises(StorageOptionError, match=f"{name} is 'long', expected seconds"):
        open_source("s3://bucket/x", {name: "long"})


def test_a_number_of_retries_that_is_none_is_told():
    with pytest.raises(StorageOptionError, match="client_max_retries is 'many', expected a whole"):
        open_source("s3://bucket/x", {"client_max_retries": "many"})
