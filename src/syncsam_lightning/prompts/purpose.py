"""What a random number is drawn for; keeps draws with the same key and number apart."""

from __future__ import annotations

from enum import IntEnum


class Purpose(IntEnum):
    """First counter of every draw. Values are part of reproducibility: never renumber them."""

    FOREGROUND_CLICK = 1
    CORRECTION_CLICK = 2
    BOX_JITTER = 3
    CENTRAL_CLICK = 4
