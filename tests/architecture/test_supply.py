"""What is installed and downloaded is known: lower bounds, exact versions, hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.lowest_constraints import lowest, requirements

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [
    Requirement(text)
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in texts
]
WEIGHTS = re.compile(r"https?://[^\s\"']+\.(?:pth|pt|ckpt|bin|safetensors|onnx)")


def pins(name: str) -> dict[str, str]:
    """Return name -> version of a file of constraints."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(package): version for package, version in pairs}


@pytest.mark.promise("Supply: the lower bound of every dependency is what a job installs and tests")
def test_the_lowest_versions_are_those_of_pyproject():
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    assert lines[1:] == lowest(requirements(PROJECT)), "write it anew: make constraints-lowest.txt"


def test_a_dependency_without_a_lower_bound_is_refused():
    with pytest.raises(ValueError, match=r"'torch<3' in pyproject\.toml has no lower bound"):
        lowest(["numpy>=2", "torch<3"])


@pytest.mark.promise("Supply: every dependency is installed in one known version")
def test_every_dependency_has_an_exact_version_within_its_bounds():
    pinned = pins("constraints.txt")
    missing = sorted({r.name for r in DIRECT if canonicalize_name(r.name) not in pinned})
    assert missing == []
    outside = [str(r) for r in DIRECT if pinned[canonicalize_name(r.name)] not in r.specifier]
    assert outside == []


@pytest.mark.promise("Supply: every address that weights are downloaded from has a hash")
def test_every_address_of_weights_has_a_hash():
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "datamodules").rglob("*.py")]
    with_address = [path for path in sources if WEIGHTS.search(path.read_text(encoding="utf-8"))]
    assert [path.name for path in with_address] == ["sam_checkpoint.py"]
    for path in with_address:
        text = path.read_text(encoding="utf-8")
        hashes = re.findall(r"\"[0-9a-f]{64}\"", text)
        assert len(hashes) == len(set(WEIGHTS.findall(text)))


@pytest.mark.promise("Supply: SECURITY.md says what is guarded, what is not, and where to report")
def test_the_security_policy_says_where_to_report():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["What is guarded", "What is not", "Supported versions", "Reporting"]
    assert "Report a vulnerability" in text
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / link).is_file(), link
