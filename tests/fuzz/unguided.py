"""Runs a reader on files that are changed at random: READER SECONDS SEED FOLDER."""

from __future__ import annotations

import sys
from random import Random

from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import every_seed
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Watch


def main(reader: str, seconds: float, seed: int, folder: str) -> None:
    """Run a reader until the time is up, or it fails."""
    target, rng = TARGETS[reader], Random(seed)
    watch = Watch(target.run, seconds, folder)
    whole = target.seeds()
    for data in every_seed(target.seeds):
        watch(data)
    while not watch.is_over():
        watch(mutated(rng.choice(whole), whole, rng))
    watch.tell()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
