"""Fuzzing for as long as one likes: `python -m tests.fuzz --minutes 10 --json fuzz.json`.

Each reader runs in a process of its own with limited memory. Where atheris is installed it is
guided by the coverage of this code; else files are changed at random. The exit status is 1 if there
is a finding.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import TARGETS

HINT = "mend the reader, and add the input to its seeds in tests/fuzz/seeds.py"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What fuzzing a reader has shown."""

    reader: str
    engine: str
    seconds: float
    executions: int
    findings: list[str]


def fuzz(reader: str, engine: str, seconds: float, seed: int, keep: Path) -> Outcome:
    """Fuzz one reader in a process of its own.

    A finding ends the process; fuzzing begins anew, with another seed, until the time is up.
    """
    done = elapsed = 0.0
    findings: list[str] = []
    while seconds - elapsed > 1:
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
            crash = Path(folder, "crash")
            if result.returncode == 0:
                break
            reason = (result.stderr.strip().splitlines() or ["ended without a word"])[-1]
            if crash.exists():
                place = keep / f"{reader.split()[0]}-{len(findings)}"
                place.write_bytes(crash.read_bytes())
                reason = f"{place}: {report.get('error', reason)}"
            findings.append(reason)
    return Outcome(reader, engine, round(elapsed, 1), int(done), findings)


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes in Markdown."""
    lines = ["| reader | engine | seconds | executions | findings |", "|---|---|---|---|---|"]
    lines += [
        f"| {o.reader} | {o.engine} | {o.seconds:,.0f} | {o.executions:,} | {len(o.findings)} |"
        for o in outcomes
    ]
    lines += [f"\n{o.reader}: {finding}" for o in outcomes for finding in o.findings]
    return "\n".join(lines)


def main() -> int:
    """Fuzz every reader, or some, and tell what came of it."""
    parser = argparse.ArgumentParser("tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help="parts of their names; none: all of them")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the outcome")
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
        options.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    if found := sum(len(o.findings) for o in outcomes):
        print(f"\n{found} findings: {HINT}")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
