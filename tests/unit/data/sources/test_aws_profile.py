"""Credentials that lie in files of Amazon's own programs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from syncsam_lightning.data.sources.aws_profile import profile
from syncsam_lightning.data.sources.object_store import ObjectFolder

pytest.importorskip("boto3")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch) -> Path:
    """A home folder with two profiles."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    entry = "[{0}]\naws_access_key_id = {1}\naws_secret_access_key = secret\n"
    text = entry.format("default", "mine") + entry.format("other", "theirs")
    (tmp_path / ".aws" / "credentials").write_text(text)
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-west-1\n")
    return tmp_path


@pytest.mark.parametrize(("name", "key"), [(None, "mine"), ("other", "theirs")])
def test_the_profile_in_use_gives_key_and_region(monkeypatch, name: str | None, key: str):
    if name:
        monkeypatch.setenv("AWS_PROFILE", name)
    found = profile({})
    assert found()["access_key_id"] == key
    assert found.config == ({} if name else {"region": "eu-west-1"})
    assert ObjectFolder("s3://bucket/x").where("") == "s3://bucket/x"


@pytest.mark.parametrize("option", ["aws_access_key_id", "access_key_id", "skip_signature"])
def test_what_is_given_otherwise_is_used(option: str, monkeypatch):
    assert profile({option: "x"}) is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    assert profile({}) is None


def test_without_such_files_or_what_reads_them_nothing_is_asked(home: Path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert profile({}) is None
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(home / "nobody"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    assert profile({}) is None


def test_a_profile_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(OSError, match=r"the profile in .*\.aws cannot be used: .*nobody"):
        ObjectFolder("s3://bucket/x")
