"""Changes to files: what a broken disk, a broken download or a hostile hand does to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

_TELLING = [b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"]
_TELLING += [b"\x00\x00\x00\x80", b"\x00" * 8, b"\xff" * 8, b"../", b"PK\x01\x02", b"-1", b"1e999"]


def mutated(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """Return a file with one to eight changes.

    Args:
        data: the file.
        others: files of its kind, of which pieces may come into it.
        rng: decides what is changed.
    """
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if not changed:
            break
        rng.choice(_CHANGES)(changed, others, rng)
    return bytes(changed)


def _flip(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    at, value = rng.randrange(len(data)), rng.choice(_TELLING)
    data[at : at + len(value)] = value


def _count(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    at = rng.randrange(len(data))
    data[at] = (data[at] + rng.randint(-16, 16)) % 256


def _cut(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randint(1, 32)]


def _repeat(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randint(1, 64)]


def _splice(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    other = rng.choice(others)
    if other:
        begin, at = rng.randrange(len(other)), rng.randrange(len(data))
        data[at:at] = other[begin : begin + rng.randint(1, 256)]


_CHANGES: list[Callable[[bytearray, Sequence[bytes], Random], None]] = [
    _flip, _flip, _set, _set, _count, _cut, _remove, _repeat, _splice,
]  # fmt: skip
