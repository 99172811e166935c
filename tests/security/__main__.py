"""Writes docs/security_tests.md: `python -m tests.security`."""

from pathlib import Path

from tests.security.attacks import page

if __name__ == "__main__":
    Path("docs/security_tests.md").write_text(page(), encoding="utf-8")
