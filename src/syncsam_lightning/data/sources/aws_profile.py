"""Credentials of Amazon's own programs, which lie in ``~/.aws``."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_KEYS = ("aws_access_key_id", "access_key_id", "aws_skip_signature", "skip_signature")
_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}


def profile(options: Mapping[str, str]) -> Any:
    """Return what gives the credentials and the region of the profile in use.

    The profile is that of ``AWS_PROFILE``, else the default one. None is used, and None is
    returned, where credentials are given otherwise, where there is no such file, and where boto3,
    which reads them, is not installed.

    Args:
        options: of the store.
    """
    if any(options.get(key) for key in _KEYS) or "AWS_ACCESS_KEY_ID" in os.environ:
        return None
    files = [Path(os.environ.get(name, usual)).expanduser() for name, usual in _FILES.items()]
    if not any(file.is_file() for file in files) or importlib.util.find_spec("boto3") is None:
        return None
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        return Boto3CredentialProvider(session) if session.get_credentials() else None
    except BotoCoreError as error:
        raise OSError(f"the profile in {files[0].parent} cannot be used: {error}") from error
