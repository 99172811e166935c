from __future__ import annotations

from syncsam_lightning.data.sources import Entry, EntryIndex, Position


def test_entries_are_found_as_they_were():
    entries = [
        Entry(
            f"images/{number}.png", number, Position(3, number % 11, 1 << 40, 7, 0xFFFFFFFF, 8, 9)
        )
        for number in range(1000)
    ]
    entries += [Entry("plain.json", 1 << 40)]
    index = EntryIndex(entries)
    assert len(index) == 1001
    assert [index.find(entry.name) for entry in entries] == entries


def test_a_name_that_is_not_there_is_not_found():
    assert EntryIndex([]).find("a") is None
    assert EntryIndex([Entry("a", 1)]).find("b") is None


def test_of_equal_names_the_first_is_found():
    assert EntryIndex([Entry("a", 1), Entry("b", 9), Entry("a", 2)]).find("a") == Entry("a", 1)


def test_what_was_asked_for_is_known():
    index = EntryIndex([Entry("a", 1), Entry("b", 9), Entry("a", 2)])
    index.find("a")
    asked = [index.was_asked_for(name) for name in ("a", "b", "c")]
    assert asked == [True, False, False]
    assert [index.is_first(Entry("a", size)) for size in (1, 2)] == [True, False]
