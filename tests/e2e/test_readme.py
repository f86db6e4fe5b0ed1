"""What the README says is so: its code runs, its commands, files and links exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_in_the_readme_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    others = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}

    said = [
        subprocess.run(
            [sys.executable, "-c", block], check=True, cwd=tmp_path, env=others, capture_output=True, text=True
        )
        for block in blocks
    ]

    assert [one.stdout.splitlines()[-1] for one in said] == ["7"]


def test_the_code_in_the_readme_is_the_quickstart() -> None:
    quickstart = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")

    assert f"```python\n{quickstart}```" in README


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)\b(?! and)", README.replace("git, make and", "")))

    assert named >= {"demo", "test", "play", "bench"}
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_link_and_folder_in_the_readme_exists() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    folders = re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE)

    missing = [one for one in (*links, *folders) if not (ROOT / one).exists()]

    assert links
    assert folders
    assert missing == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
