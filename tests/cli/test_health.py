"""How a supervisor is told that `tokenkit keep` has a good token."""

from pathlib import Path

import pytest
import requests
from support.daemons import free_port

from tokenkit.cli._health import Health
from tokenkit.errors import ConfigurationError


def test_a_file_is_there_while_all_is_well(tmp_path: Path) -> None:
    """It says until when, goes as soon as there is no token, and does not outlive the command."""
    path = tmp_path / "healthy"
    with Health.at(str(path)) as health:
        assert not path.exists()
        health.tell("2026-01-01T00:00:00Z")
        assert "2026-01-01T00:00:00Z\n" == path.read_text()
        health.tell(None)
        assert not path.exists()
        health.tell("never")
    assert not path.exists()


def test_a_file_that_cannot_be_taken_away_stops_nothing(tmp_path: Path) -> None:
    """What stands there instead was put there by somebody else."""
    path = tmp_path / "healthy"
    path.mkdir()
    with Health.at(str(path)) as health:
        health.tell(None)
    assert path.is_dir()


def test_a_port_answers_while_it_is_open() -> None:
    """200 while there is a good token, 503 otherwise, and nothing at all afterwards."""
    port = free_port()
    with Health.at(str(port)) as health:
        assert (503, "no token\n") == asked(port)
        health.tell("never")
        assert (200, "good until never\n") == asked(port)
        health.tell(None)
        assert (503, "no token\n") == asked(port)
        with pytest.raises(ConfigurationError, match=f"--health {port} cannot be listened on: Address "):
            Health.at(str(port)).__enter__()
    with pytest.raises(requests.ConnectionError):
        asked(port)


def test_a_port_that_is_none() -> None:
    """It is the command line that is wrong."""
    with pytest.raises(ConfigurationError, match="--health 99999 cannot be listened on"):
        Health.at("99999").__enter__()


def asked(port: int) -> tuple[int, str]:
    answer = requests.get(f"http://127.0.0.1:{port}/", timeout=5)
    return answer.status_code, answer.text
