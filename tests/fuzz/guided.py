"""Runs a reader on files that atheris makes, guided by coverage: READER SECONDS SEED FOLDER."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["syncsam_lightning", "syncsam_datamodules"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import every_seed
from tests.fuzz.watch import Watch

LONGEST = 1 << 16


def main(reader: str, seconds: float, seed: int, folder: str) -> None:
    """Run a reader until the time is up, or it fails."""
    target = TARGETS[reader]
    whole = target.seeds()
    corpus = Path(folder, "corpus")
    corpus.mkdir()
    for number, data in enumerate(every_seed(target.seeds)):
        (corpus / str(number)).write_bytes(data)
    watch = Watch(target.run, seconds, folder)

    def run(data: bytes) -> None:
        watch(data)
        if watch.is_over():
            watch.tell()
            sys.stdout.flush()
            os._exit(0)  # libFuzzer would call a SystemExit a crash

    def mutator(data: bytes, most: int, number: int) -> bytes:
        # Half by the knowledge of files that libFuzzer lacks, half by its own means.
        if number % 2:
            return mutated(data, whole, Random(number))[:most]
        return atheris.Mutate(data, most)[:most]

    options = [f"-seed={seed + 1}", f"-max_len={LONGEST}", "-timeout=0", "-rss_limit_mb=0"]
    # What libFuzzer says on its way is where the number of branches is read from.
    options += [f"-artifact_prefix={folder}/", str(corpus)]
    atheris.Setup([sys.argv[0], *options], run, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
