"""The first source that is there gives the token, and goes on giving it."""

import copy
import pickle
from typing import Any

import pytest

from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import AuthenticationError, ConfigurationError, SourceUnavailableError, TokenEndpointError
from tokenkit.fetchers import ChainedTokenFetcher, CommandTokenFetcher, EnvTokenFetcher, FileTokenFetcher
from tokenkit.tokens import Token


class Scripted(TokenFetcher):
    """Answers with a token of its name, or raises what it is told to."""

    def __init__(self, name: str, failure: Exception | None = None) -> None:
        self.name = name
        self.failure = failure
        self.asked = 0
        self.closed = False

    def fetch(self, context: FetchContext | None = None) -> Token:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return Token(self.name)

    def close(self) -> None:
        self.closed = True


def away(transient: bool = False) -> SourceUnavailableError:
    return SourceUnavailableError("is not there", transient=transient)


def test_the_next_one_is_asked_where_one_is_not_there() -> None:
    """And it stays with that one: the first is not asked again."""
    first, second = Scripted("first", away()), Scripted("second")
    chain = ChainedTokenFetcher(first, second)
    assert ["second", "second"] == [chain.fetch().access_token, chain.refresh(Token("t")).access_token]
    assert (1, 2) == (first.asked, second.asked)


def test_a_refusal_ends_the_search() -> None:
    """Another source would give another's token."""
    first, second = Scripted("first", TokenEndpointError("refused", error="invalid_client")), Scripted("second")
    with pytest.raises(TokenEndpointError):
        ChainedTokenFetcher(first, second).fetch()
    assert 0 == second.asked


def test_the_search_begins_anew_where_its_source_goes_away() -> None:
    """A file that is deleted leaves the others."""
    first, second = Scripted("first"), Scripted("second")
    chain = ChainedTokenFetcher(first, second)
    chain.fetch()
    first.failure = away()
    assert "second" == chain.fetch().access_token


def test_where_none_is_there_each_is_told() -> None:
    """It may pass where one may come yet."""
    chain = ChainedTokenFetcher(Scripted("first", away()), Scripted("second", away(transient=True)), name="api")
    with pytest.raises(SourceUnavailableError, match=r"is not there; .*is not there") as caught:
        chain.fetch()
    assert ("api", True) == (caught.value.step_name, caught.value.transient)


def test_the_local_sources_say_when_they_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No such variable, file or program: each leaves the turn to the next."""
    monkeypatch.setenv("TOKENKIT_TEST_HERE", "t")
    sources = [EnvTokenFetcher("TOKENKIT_TEST_NOWHERE"), FileTokenFetcher(tmp_path / "none")]
    sources += [CommandTokenFetcher(["/nowhere/program"]), EnvTokenFetcher("TOKENKIT_TEST_HERE")]
    assert "t" == ChainedTokenFetcher(*sources).fetch().access_token


def test_a_file_that_cannot_be_read_is_there(tmp_path: Any) -> None:
    """A mistake is not passed over in silence."""
    chain = ChainedTokenFetcher(FileTokenFetcher(tmp_path), Scripted("second"))
    with pytest.raises(AuthenticationError, match="cannot be read"):
        chain.fetch()


def test_it_is_closed_copied_and_pickled_as_its_fetchers_are() -> None:
    """A copy searches for itself."""
    chain = ChainedTokenFetcher(EnvTokenFetcher("A", depends_on=["app"]), EnvTokenFetcher("B"), depends_on=["x"])
    for twin in (copy.deepcopy(chain), pickle.loads(pickle.dumps(chain))):
        assert ("x", "app") == twin.depends_on
        assert ["A", "B"] == [one.variable for one in twin.fetchers]
    scripted = Scripted("one")
    ChainedTokenFetcher(scripted).close()
    assert scripted.closed


@pytest.mark.parametrize("fetchers", [(), (EnvTokenFetcher,), ("token",)])
def test_a_chain_is_made_of_fetchers(fetchers: Any) -> None:
    """At least one, and objects."""
    with pytest.raises(ConfigurationError, match="chain"):
        ChainedTokenFetcher(*fetchers)


def test_a_chain_is_known_by_all_that_is_in_it() -> None:
    """Another order, or another source, is another key; what is shown has their names."""
    one, two = EnvTokenFetcher("ONE"), EnvTokenFetcher("TWO")
    keys = {ChainedTokenFetcher(*given).cache_key for given in ((one, two), (two, one), (one,))}
    assert 3 == len(keys)
    assert f"of {one.name}, {two.name}>" in repr(ChainedTokenFetcher(one, two))
