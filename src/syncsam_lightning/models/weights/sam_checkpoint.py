"""Where SAM's official ViT-B checkpoint is, or comes from."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import torch

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.locks import only_one
from syncsam_lightning.whole_files import whole_file

OFFICIAL_URL = "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"
OFFICIAL_SHA256 = "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"
CACHE_VARIABLE = "SYNCSAM_CACHE"

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30.0


def find_sam_checkpoint(
    where: str | os.PathLike[str] = "auto",
    *,
    url: str = OFFICIAL_URL,
    sha256: str = OFFICIAL_SHA256,
    cache: Path | None = None,
) -> Path:
    """Return the path of SAM's ViT-B checkpoint, downloading it if need be.

    A download goes to a temporary file beside its final place and is moved there once its hash is
    right, so a killed process leaves no half checkpoint. Of several processes one downloads, and
    the others wait for it.

    Args:
        where: ``"auto"``: the file in the cache, else from ``url``; anything else is the path of a
            file, taken as it is (it may be a fine-tuned SAM, so its hash is not checked).
        url: where to download from.
        sha256: hash that the file in the cache or from ``url`` must have, hexadecimal.
        cache: folder; by default the one that the environment variable ``SYNCSAM_CACHE`` names,
            else ``checkpoints`` in torch.hub's folder.

    Raises:
        WeightsError: the file is not there, is not the expected one, or can't be downloaded; the
            message says which file to put where and from which address.
    """
    if where != "auto":
        path = Path(where).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"there is no SAM checkpoint at {path}; get {url}, or set sam_checkpoint to "
                "'auto' to have it downloaded"
            )
        return path
    target = (cache or _default_cache()) / Path(urlsplit(url).path).name
    if not target.is_file():
        _download(url, sha256, target)
    elif (found := _sha256_of(target)) != sha256:
        raise WeightsError(
            f"{target} is not the SAM checkpoint it should be: its SHA-256 is {found}, expected "
            f"{sha256}. Delete it and run again, or replace it with {url}"
        )
    return target


def _default_cache() -> Path:
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).expanduser()
    return Path(torch.hub.get_dir()) / "checkpoints"


def _download(url: str, sha256: str, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with only_one(
            target.with_name(f".{target.name}.lock"),
            f"{target} is being downloaded by another process",
        ):
            if not target.is_file():
                with whole_file(target) as file:
                    _check_download(url, _copy(url, file), sha256, target)
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(
            f"could not download SAM's checkpoint from {url} to {target} ({error}). Fetch that "
            f"address on another machine and put the file at {target}, or set sam_checkpoint to "
            "its path, or to 'none' to do without SAM's weights"
        ) from error


def _copy(url: str, file: BinaryIO) -> str:
    """Write what ``url`` answers to ``file`` and return its SHA-256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
        announced = response.headers.get("Content-Length")
        received = 0
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
    if announced is not None and received != int(announced):
        raise OSError(f"the connection ended after {received} of {announced} bytes")
    return digest.hexdigest()


def _check_download(url: str, found: str, expected: str, target: Path) -> None:
    if found != expected:
        raise WeightsError(
            f"what {url} answered is not SAM's checkpoint: its SHA-256 is {found}, expected "
            f"{expected}; nothing was written to {target}. A proxy may have replaced it: fetch the "
            "file by other means and put it there"
        )


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
