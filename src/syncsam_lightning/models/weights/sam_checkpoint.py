"""Where Meta's SAM ViT-B checkpoint comes from."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.request
from pathlib import Path
from urllib.error import URLError

import torch

from syncsam_lightning.errors import WeightsError

SAM_NAME = "sam_vit_b_01ec64.pth"
SAM_URL = f"https://dl.fbaipublicfiles.com/segment_anything/{SAM_NAME}"
SAM_SHA256 = "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"
_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30


def sam_cache() -> Path:
    """Return the folder for downloaded checkpoints: ``SYNCSAM_CACHE``, or torch hub's."""
    if folder := os.environ.get("SYNCSAM_CACHE"):
        return Path(folder)
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_sam_checkpoint(
    where: str = "auto",
    *,
    url: str = SAM_URL,
    sha256: str = SAM_SHA256,
    cache: Path | None = None,
) -> Path:
    """Return the path of SAM's ViT-B checkpoint, downloading it once if need be.

    Args:
        where: ``auto`` (the cache, else the official address) or the path of a local file.
        url: address of the file.
        sha256: its hash in hexadecimal; a download that differs is thrown away.
        cache: folder to keep it in; None: :func:`sam_cache`.

    Raises:
        WeightsError: a given path does not exist, the address can't be reached, or the hash of what
            came differs.
    """
    if where != "auto":
        path = Path(where).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"SAM checkpoint {path} does not exist (looked in {Path.cwd()}): "
                f"give the path of {SAM_NAME}, or 'auto' to download it"
            )
        return path
    folder = cache or sam_cache()
    path = folder / SAM_NAME
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _download(url, path, sha256)
    return path


def _download(url: str, path: Path, sha256: str) -> None:
    remedy = (
        f"download {url} to {path} yourself, point sam_checkpoint to the file, or train without "
        "SAM's weights by sam_checkpoint: none"
    )
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        digest = hashlib.sha256()
        try:
            with (
                os.fdopen(descriptor, "wb") as file,
                urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer,
            ):
                while chunk := answer.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
        except (URLError, OSError) as error:
            raise WeightsError(f"{SAM_NAME} could not be fetched ({error}): {remedy}") from error
        if digest.hexdigest() != sha256:
            raise WeightsError(
                f"what {url} sent has SHA-256 {digest.hexdigest()}, not {sha256}: it is damaged "
                f"or not the official file; {remedy}"
            )
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
