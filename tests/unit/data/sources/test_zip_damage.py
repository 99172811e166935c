"""Archives damaged at random: they may lose files, but only in the ways that callers know."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from syncsam_lightning.data.sources import Entry, open_source
from syncsam_lightning.errors import BrokenInputError


@pytest.mark.parametrize("wide", [False, True], ids=["zip32", "zip64"])
@pytest.mark.parametrize("part_size", [0, 700], ids=["one part", "parts"])
def test_damage_is_named_and_never_passes_for_data(
    tmp_path: Path, archive, files, part_size: int, wide: bool
):
    few = dict(list(files.items())[:6])
    outcomes = {"whole": 0, "file lost": 0, "archive lost": 0}
    for seed in range(100):
        rng = random.Random(seed)
        written = archive(few, part_size, wide=wide)
        part = rng.choice(written.parts)
        # The structures at the end are hit more often than the data are.
        begin = 0 if rng.random() < 0.5 else max(0, len(part) - 400)
        for _ in range(rng.randint(1, 3)):
            part[rng.randrange(begin, len(part))] = rng.choice(
                [0, 1, 0x50, 0xFF, rng.randrange(256)]
            )
        if rng.random() < 0.2:
            del part[rng.randrange(len(part)) :]
        root = written.save(tmp_path / str(seed))
        try:
            source = open_source(root)
            found = list(source.entries())
        except BrokenInputError:
            outcomes["archive lost"] += 1
            continue
        lost = len(few)
        for entry in found:
            if not isinstance(entry, Entry):
                continue
            try:
                data = source.read(entry)
            except BrokenInputError:
                with pytest.raises(BrokenInputError):
                    source.open(entry).read()
                continue
            # A damaged name is a name like any other; content never differs.
            assert data in few.values()
            assert source.open(entry).read() == data
            lost -= 1
        outcomes["file lost" if lost else "whole"] += 1
    assert min(outcomes.values()) > 2
