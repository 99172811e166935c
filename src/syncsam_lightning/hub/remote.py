"""Models fetched from a hub and sent to one, by the ``huggingface_hub`` package."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

from syncsam_lightning.errors import HubError, MissingPackageError
from syncsam_lightning.hub.folder import (
    CARD,
    CONFIG,
    WEIGHTS,
    PretrainedModel,
    checked_weights,
    read_folder,
)
from syncsam_lightning.models import PromptableModel

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0  # for the first answer of a hub
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (".ckpt", ".pth", ".pt", ".bin", ".safetensors")


def is_repository(text: str) -> bool:
    """Whether a text may name a repository, ``OWNER/NAME``, rather than a file that is missing."""
    return _REPOSITORY.fullmatch(text) is not None and not text.endswith(_FILES)


def holds_its_settings(place: str | os.PathLike[str]) -> bool:
    """Whether weights lie in a folder or repository, with settings beside them; else in a file."""
    path = Path(place).expanduser()
    return path.is_dir() or (not path.exists() and is_repository(os.fspath(place)))


def from_pretrained(
    path_or_id: str | os.PathLike[str],
    *,
    revision: str | None = None,
    endpoint: str | None = None,
) -> PromptableModel:
    """Return a model with its weights, in eval mode; see :func:`load_pretrained`.

    Raises:
        HubError: see :func:`load_pretrained`.
    """
    return load_pretrained(path_or_id, revision=revision, endpoint=endpoint).model


def load_pretrained(
    path_or_id: str | os.PathLike[str],
    *,
    revision: str | None = None,
    endpoint: str | None = None,
) -> PretrainedModel:
    """Load a model from a folder or a hub; nothing that it holds is executed or unpickled.

    Args:
        path_or_id: see :func:`find_folder`.
        revision: see :func:`find_folder`.
        endpoint: see :func:`find_folder`.

    Raises:
        HubError: there is no such folder or repository, the hub can't be reached, or the files are
            damaged or of another program.
        MissingPackageError: the packages of the extra ``hub`` are not installed.
        ModelSettingsError: the model can't be built.
    """
    return read_folder(find_folder(path_or_id, revision=revision, endpoint=endpoint))


def find_weights(path_or_id: str | os.PathLike[str]) -> Path:
    """Return the file that holds the weights which somebody names.

    Args:
        path_or_id: a folder or repository (see :func:`find_folder`), whose weights are then
            compared with its config; anything else is the path of a file, returned as it is.

    Raises:
        HubError: see :func:`load_pretrained`.
        MissingPackageError: see :func:`load_pretrained`.
    """
    place = find_checkpoint(path_or_id)
    return checked_weights(place) if place.is_dir() else place


def find_checkpoint(path_or_id: str | os.PathLike[str]) -> Path:
    """Return where a model lies on this machine, fetched from a hub where need be.

    What reads a model more than once should ask once: of a repository all is of one commit then.

    Args:
        path_or_id: a folder or repository (see :func:`find_folder`); anything else is the path of a
            file, which may not be there.

    Returns:
        the folder, or the path of the file.

    Raises:
        HubError: see :func:`find_folder`.
        MissingPackageError: see :func:`find_folder`.
    """
    if holds_its_settings(path_or_id):
        return find_folder(path_or_id)
    return Path(path_or_id).expanduser()


def find_folder(
    path_or_id: str | os.PathLike[str],
    *,
    revision: str | None = None,
    endpoint: str | None = None,
) -> Path:
    """Return the folder of a model, fetched from a hub where need be.

    Args:
        path_or_id: a folder, or a repository such as ``someone/syncsam-34``; a folder wins.
        revision: branch, tag or commit of the repository; None: its main branch.
        endpoint: address of the hub; None: that of ``huggingface_hub`` (``HF_ENDPOINT``).

    Raises:
        HubError: there is no such folder or repository, or the hub can't be reached.
        MissingPackageError: ``huggingface_hub`` is needed and not installed.
    """
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise HubError(
                f"{folder} is a folder, which has no revision {revision!r}: leave it out"
            )
        return folder
    repository = os.fspath(path_or_id)
    if not _REPOSITORY.fullmatch(repository):
        raise HubError(
            f"{repository!r} is neither a folder nor a repository's name (OWNER/NAME); looked in "
            f"{Path.cwd()}"
        )
    check_repository(repository)
    hub = _huggingface_hub()
    trouble = _unreachable(hub, repository, revision, endpoint)
    options = {"endpoint": endpoint, "local_files_only": trouble is not None}
    try:
        config = Path(hub.hf_hub_download(repository, CONFIG, revision=revision, **options))
        # The folder is named by the commit; a push in between must not tear the two apart.
        hub.hf_hub_download(repository, WEIGHTS, revision=config.parent.name, **options)
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError) as error:
        cause = trouble or error
        raise HubError(_explained(f"{repository} could not be fetched", cause)) from error
    if trouble is not None:
        log.warning(
            "%s: the hub can't be reached (%s); the copy in the cache is used", repository, trouble
        )
    return config.parent


def _unreachable(
    hub: Any, repository: str, revision: str | None, endpoint: str | None
) -> Exception | None:
    """Return why a hub gives no answer at all, or None; the package would ask for over a minute."""
    try:
        address = hub.hf_hub_url(repository, CONFIG, revision=revision, endpoint=endpoint)
        hub.get_hf_file_metadata(address, timeout=_PATIENCE_SECONDS)
    except hub.errors.HfHubHTTPError:
        return None  # an answer, which the download will meet again
    except (hub.errors.HTTPError, OSError) as error:
        return error
    return None


def check_repository(repository: str) -> None:
    """Raise unless a hub may have a repository of this name; none is asked.

    Args:
        repository: ``OWNER/NAME``.

    Raises:
        HubError: it is no such name.
        MissingPackageError: the packages of the extra ``hub`` are not installed.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise HubError(f"repository must be OWNER/NAME, got {repository!r}")
    hub = _huggingface_hub()
    try:
        hub.utils.validate_repo_id(repository)
    except hub.errors.HFValidationError as error:
        raise HubError(f"no hub takes the repository's name {repository!r}: {error}") from error


def push_to_hub(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    private: bool = True,
    message: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Send a folder that holds a model to a hub. It is read first: what can't be loaded stays here.

    Args:
        folder: as :func:`~syncsam_lightning.hub.write_folder` leaves it, with a model card.
        repository: ``OWNER/NAME``; made if it is not there.
        private: whether a repository that is made is private.
        message: of the commit.
        endpoint: address of the hub; None: that of ``huggingface_hub`` (``HF_ENDPOINT``).
        token: that allows writing; None: the one that ``hf auth login`` or ``HF_TOKEN`` gave.

    Returns:
        The address of the commit.

    Raises:
        HubError: there is no such folder, it is no model or has no card, or the hub refuses it or
            can't be reached.
        MissingPackageError: the packages of the extra ``hub`` are not installed.
    """
    place = Path(folder).expanduser()
    check_repository(repository)
    if not place.is_dir():
        raise HubError(f"{place} is no folder (looked in {Path.cwd()})")
    if not (place / CARD).is_file():
        raise HubError(f"{place} has no model card {CARD}: write one, strangers will need it")
    loaded = read_folder(place)
    hub = _huggingface_hub()
    api = hub.HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=place,
            allow_patterns=[CONFIG, WEIGHTS, CARD],
            commit_message=message or f"{type(loaded.model).__name__} by syncsam-lightning",
        )
    except (hub.errors.HTTPError, OSError, ValueError) as error:
        # HTTPError is the HTTP client's own: which client that is changes with the package.
        explained = _explained(f"{place} could not be sent to {repository}", error)
        raise HubError(f"{explained} The folder is whole: push it again.") from error
    return str(commit.commit_url)


def _explained(what: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return (
        f"{what} ({type(error).__name__}: {reason}). Is the name right, does HF_ENDPOINT name the "
        "hub, and does HF_TOKEN (or `hf auth login`) allow it?"
    )


def _huggingface_hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise MissingPackageError(
            "huggingface_hub is not installed: pip install 'syncsam-lightning[hub]'"
        ) from error
    return huggingface_hub
