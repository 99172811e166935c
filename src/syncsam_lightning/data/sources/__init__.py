"""Releases read where they lie: archives in one or many parts, folders of both, object stores."""

from syncsam_lightning.data.sources.index import EntryIndex
from syncsam_lightning.data.sources.opening import holds_archives, local_tree, open_source
from syncsam_lightning.data.sources.source import Entry, Position, Source
from syncsam_lightning.data.sources.web_place import is_web

__all__ = [
    "Entry",
    "EntryIndex",
    "Position",
    "Source",
    "holds_archives",
    "is_web",
    "local_tree",
    "open_source",
]
