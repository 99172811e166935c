"""Messages go to what is standard error when they are written."""

from __future__ import annotations

import io
import logging
import warnings

import pytest

from syncsam_lightning.cli.messages import show_messages


def test_a_closed_stream_of_an_earlier_command_is_not_written_to(monkeypatch):
    earlier, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", earlier)
    show_messages()
    earlier.close()
    monkeypatch.setattr("sys.stderr", now)
    logging.getLogger("syncsam_lightning.test").warning("skipped: 3")
    assert now.getvalue() == "skipped: 3\n"


def test_a_stream_that_cannot_be_written_to_ends_no_command(monkeypatch):
    gone = io.StringIO()
    show_messages()
    gone.close()
    monkeypatch.setattr("sys.stderr", gone)
    monkeypatch.setattr("logging.raiseExceptions", False)
    logging.getLogger("syncsam_lightning.test").warning("nobody reads this")


@pytest.mark.parametrize(
    ("module", "told"),
    [("lightning.pytorch.cli", 0), ("syncsam_lightning.cli.plugin_options", 1)],
)
def test_deprecated_calls_of_lightning_are_hidden_and_our_own_are_told(module, told):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        show_messages()
        warnings.warn_explicit("goes soon", DeprecationWarning, "file.py", 1, module=module)
    assert len(found) == told
