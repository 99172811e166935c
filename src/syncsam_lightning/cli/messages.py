"""What a user gets to read while a command runs."""

from __future__ import annotations

import logging
import sys
import warnings

_OURS = ("syncsam_lightning", "syncsam_datamodules")
_EXPECTED = (
    # Frozen parts stay in eval mode on purpose.
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # Measuring a checkpoint has a folder of its own, so the one it was trained in is another.
    r"The dirpath has changed from",
    # MONAI's use of its own argument.
    r".*get_mask_edges:always_return_as_numpy.*",
    # Lightning's own use of torch.
    r".*isinstance\(treespec, LeafSpec\).*is deprecated",
)
_LIGHTNINGS_CLI = r"lightning\.pytorch\.cli$"


class _ToStandardError(logging.Handler):
    """Writes to what is standard error by then: a process may run commands after it has moved."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message; a stream that can't be written to ends no command."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def show_messages() -> None:
    """Show what the package reports (a table made, files skipped); hide what is as it should be."""
    for name in _OURS:
        logger = logging.getLogger(name)
        if not logger.handlers:
            handler = _ToStandardError()
            handler.setFormatter(logging.Formatter("%(message)s"))
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
    for message in _EXPECTED:
        warnings.filterwarnings("ignore", message=message)
    # Lightning's own calls into jsonargparse; ours are told, and fail the tests.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=_LIGHTNINGS_CLI)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()
