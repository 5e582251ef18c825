"""Interpreters of one process, as ``concurrent.interpreters`` makes them: none may have a daemon thread."""

import sys
import threading
from pathlib import Path

import pytest

from tokenkit.testing import LocalIdP

pytestmark = pytest.mark.skipif(sys.version_info < (3, 14), reason="there are none in older versions")

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")  # compiled packages may not be had here
sys.path[:0] = {path}
from tokenkit import ClientCredentialsFetcher, TokenManager
from tokenkit.storage import FileTokenStorage
source = ClientCredentialsFetcher(token_url={url!r}, client_id="client", client_secret="secret")
with TokenManager(source, FileTokenStorage({folder!r})) as manager:
    assert manager.get_token() is manager.get_token()
    import threading
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tokenkit")]
"""


def test_interpreters_share_a_token_and_callers_lead(local_idp: LocalIdP, tmp_path: Path) -> None:
    """Two that start together cost one fetch, and have no thread but their callers'."""
    interpreters = pytest.importorskip("concurrent.interpreters")
    local_idp.add_client("client", "secret")
    program = PROGRAM.format(path=sys.path, url=local_idp.token_url, folder=str(tmp_path))
    made = [interpreters.create() for _ in range(2)]
    threads = [threading.Thread(target=one.exec, args=(program,)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in made:
        one.close()
    assert 1 == local_idp.count("token")
