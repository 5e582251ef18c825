"""An identity provider for each test."""

from collections.abc import Iterator

import pytest

from tokenkit.testing import LocalIdP


@pytest.fixture
def idp() -> Iterator[LocalIdP]:
    with LocalIdP(lifetime=7200) as idp:
        yield idp
