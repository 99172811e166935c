"""Raw releases into tables.

A conversion is a row of stages (:class:`Workbench`); the work of a stage is cut into units that run
in a few processes, and each leaves a state file when it is done. Rows are written as fragments that
one commit at the end makes a table. Killed anywhere, the same command goes on.
"""

from syncsam_lightning.data.conversion.code_digest import code_digest
from syncsam_lightning.data.conversion.convert import (
    Records,
    TablePlan,
    convert,
    is_prepared,
    prepare_table,
)
from syncsam_lightning.data.conversion.report import ConversionReport
from syncsam_lightning.data.conversion.source_state import (
    address_of,
    check_unchanged,
    state_of,
)
from syncsam_lightning.data.conversion.target import Target, skipped_path
from syncsam_lightning.data.conversion.web_release import WebRelease
from syncsam_lightning.data.conversion.workbench import Workbench, WorkOptions

__all__ = [
    "ConversionReport",
    "Records",
    "TablePlan",
    "Target",
    "WebRelease",
    "WorkOptions",
    "Workbench",
    "address_of",
    "check_unchanged",
    "code_digest",
    "convert",
    "is_prepared",
    "prepare_table",
    "skipped_path",
    "state_of",
]
