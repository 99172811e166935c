"""Exceptions that say what was wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

UNREADABLE = "unreadable file"
"""Kind of every trouble that another copy of the same file would not have."""

PART_MISSING = "part of the archive missing"
"""Kind of every file of which the part of the archive is missing or cut off."""

NOT_FOUND = "file not found"
"""Kind of every file that should be read and is not there."""

NAMED_BUT_MISSING = "named by the index, missing"
"""Kind of every file that the release's own index names and that is not there."""

FOLDER_UNREADABLE = "unreadable folder"
"""Kind of every folder that can't be listed."""

ARCHIVE_DAMAGED = "damaged archive"
"""Kind of every archive that can't be opened or whose directory is damaged."""

LOST = frozenset(
    {UNREADABLE, PART_MISSING, NOT_FOUND, NAMED_BUT_MISSING, FOLDER_UNREADABLE, ARCHIVE_DAMAGED}
)
"""The kinds of trouble that a whole copy of the release would not have."""


class SyncSAMError(Exception):
    """Base class of every error that a user of this package can cause and mend."""


class BrokenInputError(SyncSAMError):
    """A file of a data set cannot be used.

    Raised by readers and turned into a line of ``skipped.jsonl`` by the conversion.

    Args:
        path: the file (or ``archive::member``) that is broken.
        reason: what is wrong with it, in one clause.
        kind: what all cases of the same trouble have in common, by which reports count.
    """

    def __init__(self, path: str, reason: str, kind: str = UNREADABLE) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.kind = kind

    def __reduce__(self) -> tuple[type[BrokenInputError], tuple[str, str, str]]:
        # By default an exception is rebuilt from its message alone, which this one can't be: a
        # worker process that raised it would look as if it had crashed.
        return type(self), (self.path, self.reason, self.kind)


class DatasetNotFoundError(SyncSAMError):
    """The raw release or the prepared table of a data set is not where it was looked for."""


class UnknownPluginError(SyncSAMError):
    """A datamodule name matches no installed plugin."""

    def __init__(self, name: str, known: Iterable[str], broken: Iterable[str] = ()) -> None:
        message = f"unknown datamodule {name!r}; known: {', '.join(sorted(known)) or 'none'}"
        if failures := list(broken):
            message += "; failed to import: " + "; ".join(failures)
        super().__init__(message)


class ConversionError(SyncSAMError):
    """A raw release could not be converted into a table (for example: every row was broken)."""


class TableError(SyncSAMError):
    """A table is not one of ours, is damaged, or does not fit what was asked of it."""


class DamagedRowError(TableError):
    """One row of a table can't be used; the message names it, and others may be whole."""


class UnsupportedPromptError(SyncSAMError):
    """A model was given a kind of prompt that it cannot use."""


class InvalidImageError(SyncSAMError):
    """An array is no image that could be segmented."""


class InvalidPromptError(SyncSAMError):
    """A click or box of a person lies outside its image, is no number, or has the wrong shape."""


class WeightsError(SyncSAMError):
    """A checkpoint is missing, damaged, of an unknown layout, or does not fit the model."""


class ModelSettingsError(WeightsError):
    """What a file says about the model that it is of can't be used to build it."""


class ExportError(SyncSAMError):
    """A model can't be exported as asked, or what was written does not give its answers."""


class HubError(SyncSAMError):
    """A model can't be fetched from a hub or sent to it."""


class CheckpointError(SyncSAMError):
    """A checkpoint could not be written."""


class PromptFileError(SyncSAMError):
    """A file of recorded prompts does not fit the objects that are to be prompted."""


class NonFiniteLossError(SyncSAMError):
    """The loss is NaN or infinite; the message names the images of the batch."""


class CompileError(SyncSAMError, ValueError):
    """A model is built in a way that ``torch.compile`` can't take."""


class UnsupportedPrecisionError(SyncSAMError):
    """A run is asked to compute in a precision in which the model can't."""


class UnsupportedStrategyError(SyncSAMError):
    """Ranks are asked to share their work in a way that the training can't be done in."""


class LostProcessError(SyncSAMError):
    """Another rank or a loader worker is gone or stands still; a restart goes on."""


class NothingToTrainError(SyncSAMError):
    """Every part of a model is frozen, so that ``fit`` has nothing to do."""


class NoValidationError(SyncSAMError):
    """A run is to be steered by validation, and nothing is validated in it."""


class MissingPackageError(SyncSAMError):
    """An option needs a package that is not installed; the message says which."""


class EvaluationError(SyncSAMError):
    """An evaluation did not score every row exactly once."""


class ComparisonError(SyncSAMError):
    """Results can't be put side by side: one is damaged, or they don't belong together."""


class ExamplesError(SyncSAMError):
    """A file of example images is missing or damaged."""
