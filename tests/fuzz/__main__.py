"""Fuzzing for as long as one likes: `python -m tests.fuzz --minutes 10 --json fuzz.json`.

Each reader runs in a process of its own with limited memory. Where atheris is installed it is
guided by the coverage of this code; else files are changed at random. What an earlier run has
written to the same JSON file is added up, so long fuzzing can be done in pieces. The exit status is
1 if this run has a finding.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import TARGETS

_COVERED = re.compile(r"\bcov: (\d+)")
MOST_FINDINGS = 5
"""Of one run of a reader: one fault shows again and again until it is mended."""
HINT = "mend the reader, and add the input to its seeds in tests/fuzz/seeds.py"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What fuzzing a reader has shown.

    Args:
        reader: its name.
        engine: what chose the files.
        seconds: how long, of the reader's own process.
        executions: files that were read.
        branches: of this project's code that some file reached; 0 where nothing counts them.
        findings: what it failed on.
    """

    reader: str
    engine: str
    seconds: float
    executions: int
    branches: int
    findings: list[str]

    def after(self, earlier: Outcome | None) -> Outcome:
        """Return this outcome with that of an earlier run added."""
        if earlier is None or earlier.engine != self.engine:
            return self
        return Outcome(
            self.reader,
            self.engine,
            round(earlier.seconds + self.seconds, 1),
            earlier.executions + self.executions,
            max(earlier.branches, self.branches),
            earlier.findings + self.findings,
        )


def fuzz(reader: str, engine: str, seconds: float, seed: int, keep: Path) -> Outcome:
    """Fuzz one reader in a process of its own.

    A finding ends the process; fuzzing begins anew, with another seed, until the time is up or
    there are enough findings to begin with.
    """
    done = elapsed = 0.0
    branches = 0
    findings: list[str] = []
    while seconds - elapsed > 1 and len(findings) < MOST_FINDINGS:
        with tempfile.TemporaryDirectory() as folder:
            options = [reader, str(seconds - elapsed), str(seed + len(findings)), folder]
            result = subprocess.run(
                [sys.executable, "-m", f"tests.fuzz.{engine}", *options],
                capture_output=True,
                text=True,
                check=False,
                errors="replace",
            )
            told = Path(folder, "told.json")
            report = json.loads(told.read_text()) if told.exists() else {}
            elapsed += max(1.0, report.get("seconds", seconds - elapsed))
            done += report.get("executions", 0)
            branches = max([branches, *map(int, _COVERED.findall(result.stderr))])
            crash = Path(folder, "crash")
            if result.returncode == 0:
                break
            reason = (result.stderr.strip().splitlines() or ["ended without a word"])[-1]
            if crash.exists():
                place = keep / f"{reader.split()[0]}-{len(findings)}"
                place.write_bytes(crash.read_bytes())
                reason = f"{place}: {report.get('error', reason)}"
            findings.append(reason)
    return Outcome(reader, engine, round(elapsed, 1), int(done), branches, findings)


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes in Markdown."""
    lines = ["| reader | engine | minutes | executions | branches | findings |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {o.reader} | {o.engine} | {o.seconds / 60:.1f} | {o.executions:,} | {o.branches} | "
        f"{len(o.findings)} |"
        for o in outcomes
    ]
    lines += [f"\n{o.reader}: {finding}" for o in outcomes for finding in o.findings]
    return "\n".join(lines)


def added_up(path: Path, outcomes: list[Outcome]) -> list[Outcome]:
    """Return outcomes with those that a file holds added, in the order of the readers."""
    earlier = {}
    if path.exists():
        earlier = {entry["reader"]: Outcome(**entry) for entry in json.loads(path.read_text())}
    latest = {o.reader: o.after(earlier.get(o.reader)) for o in outcomes}
    return [(earlier | latest)[name] for name in TARGETS if name in earlier | latest]


def main() -> int:
    """Fuzz every reader, or some, and tell what came of it."""
    parser = argparse.ArgumentParser("tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help="parts of their names; none: all of them")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the outcome; it is added to")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--engine", choices=["guided", "unguided"])
    options = parser.parse_args()
    engine = options.engine or ("guided" if find_spec("atheris") else "unguided")
    chosen = [
        name for name in TARGETS if not options.readers or any(r in name for r in options.readers)
    ]
    options.keep.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in chosen:
        outcomes.append(fuzz(name, engine, 60 * options.minutes, options.seed, options.keep))
        print(table(outcomes[-1:]).splitlines()[2], flush=True)
    print(f"\n{table(outcomes)}")
    if options.json:
        all_in_all = added_up(options.json, outcomes)
        options.json.write_text(json.dumps([asdict(o) for o in all_in_all], indent=1) + "\n")
    if found := sum(len(o.findings) for o in outcomes):
        print(f"\n{found} findings: {HINT}")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
