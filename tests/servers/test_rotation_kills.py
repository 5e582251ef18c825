"""node-oidc-provider ends a family of refresh tokens at the first reuse: eight processes, and kills at random."""

from pathlib import Path

import pytest
from support import rotation_kills
from support.oauth_servers import OAuthServer

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.posix]


def test_no_family_is_ended_but_by_a_kill_that_no_library_can_help(oidc_provider: OAuthServer, tmp_path: Path) -> None:
    """At most as many as there were kills between the server's answer and the stored entry."""
    figures = rotation_kills.run_round(oidc_provider.lasting, tmp_path, kills=25, seed=13)
    assert figures.revoked <= figures.lost
    assert 0 < figures.rotations
