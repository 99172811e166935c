"""What a store's troubles are called."""

from __future__ import annotations

import pytest
from obstore.exceptions import GenericError

from syncsam_lightning.data.sources.store_errors import explained

URL = "http://store.example/bucket/x"


def said(text: str, uri: str = "s3://bucket/x") -> str:
    with pytest.raises(OSError) as error, explained(uri):  # noqa: PT011
        raise GenericError(text)
    assert error.value.__suppress_context__
    return str(error.value)


@pytest.mark.parametrize(
    ("uri", "variables"),
    [
        ("s3://bucket", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("gs://bucket/x", "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://bucket/x", "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_where_credentials_belong_is_told_for_each_kind_of_store(uri: str, variables: str):
    text = "Error performing PUT http://169.254.169.254/token in 2s, after 1 retries - HTTP error"
    assert said(text, uri) == (
        f"no credentials were found: set {variables}, or for a public bucket the storage option "
        "skip_signature to true"
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("InvalidAccessKeyId", "the store does not know these credentials (InvalidAccessKeyId)"),
        ("SignatureDoesNotMatch", "the store does not know these credentials (Signature"),
        ("AccessDenied", "these credentials have no right to read it (AccessDenied)"),
        ("NoSuchBucket", "there is no bucket bucket (NoSuchBucket): check the address"),
    ],
)
def test_what_the_store_answers_is_told_by_its_code_alone(code: str, reason: str):
    told = said(
        f"Error performing GET {URL} in 2ms - Server returned non-2xx status code: 403 Forbidden: "
        f"<Error>\n<Code>{code}</Code><AWSAccessKeyId>AKIAHIDDEN</AWSAccessKeyId></Error>\n\nDebug"
    )
    assert told.startswith(reason)
    assert "HIDDEN" not in told


def test_a_connection_that_fails_names_the_host_and_how_often_it_was_tried():
    text = (
        f"Generic S3 error: Error performing GET {URL}?prefix=x in 1s, after 8 retries, max - HTTP"
    )
    assert said(text) == (
        "http://store.example does not answer (HTTP, tried 9 times): check the endpoint and the "
        "network, and try again"
    )


def test_a_signature_in_an_address_is_not_repeated():
    text = f"Error performing GET {URL}?sv=1&sig=HIDDEN in 1s, after 1 retries - status code: 500 x"
    assert "HIDDEN" not in said(text, "az://bucket/x")


def test_what_is_not_known_is_repeated_in_one_line():
    assert said("something\n\nDebug source: long") == "something"


def test_another_region_is_told():
    text = f"Error performing GET {URL} in 2ms - Received redirect without LOCATION, this normally"
    assert said(text) == (
        "bucket lies in another region: set AWS_REGION or the storage option aws_region"
    )
