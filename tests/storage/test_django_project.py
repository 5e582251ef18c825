"""The example project."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import needs

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "django_project"


@pytest.mark.slow
def test_the_workers_of_a_project_share_one_token(tmp_path: Path) -> None:
    """Four processes that start together and answer two requests each cost one token call."""
    needs.module("django")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-B", str(PROJECT / "manage.py"), "demo"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=50,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert ["4, of which failed 0", "8", "1"] == [line[16:] for line in done.stdout.splitlines()[-3:]]


@pytest.mark.parametrize("path", sorted(PROJECT.rglob("*.py")), ids=lambda path: path.stem)
def test_a_file_of_the_project_is_short(path: Path) -> None:
    """Each is under 60 lines, so that it is read whole."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
