"""Where a pipeline's tokens are cached: what a step is fetched with tells its token from another's."""

from collections.abc import Sequence

from support.steps import Step, WatchedStorage

from tokenkit import TokenFetchPipeline
from tokenkit.contracts import TokenFetcher, TokenStorage
from tokenkit.fetchers import PasswordFetcher, TokenExchangeFetcher
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock, LocalIdP


class Tenant(Step):
    """A step that knows whose token it fetches."""

    def __init__(self, name: str, tenant: str, depends_on: Sequence[str] = ()) -> None:
        super().__init__(name, depends_on, clock=FakeClock())
        self.tenant = tenant

    @property
    def cache_key(self) -> str:
        return f"{self.name}:{self.tenant}"


def keys(*steps: TokenFetcher, prefix: str = "") -> dict[str, None]:
    """Return the keys that an execution writes, in the order of its steps."""
    storage = WatchedStorage()
    written: dict[str, None] = {}
    storage.before["replace"] = lambda key, *_: written.setdefault(key)
    TokenFetchPipeline(steps, storage, prefix, clock=FakeClock()).execute()
    return written


def step(name: str, *depends_on: str) -> Step:
    return Step(name, depends_on, clock=FakeClock())


def exchanged(idp: LocalIdP, username: str, storage: TokenStorage) -> TokenFetchPipeline:
    client = {"token_url": idp.token_url, "client_id": "client", "client_secret": "secret"}
    user = PasswordFetcher(**client, name="user", username=username, password="wonderland")
    backend = TokenExchangeFetcher(
        **client,
        name="backend",
        subject_token=lambda context: context["user"].access_token,
        cache_key="of the user's token",
        depends_on=["user"],
    )
    return TokenFetchPipeline([user, backend], storage)


def test_two_users_never_get_each_others_exchanged_token(local_idp: LocalIdP) -> None:
    """Their steps differ by what they depend on alone, and that is enough."""
    storage = InMemoryTokenStorage()
    local_idp.add_user("bob", "wonderland")
    alice, bob = (exchanged(local_idp, name, storage).execute() for name in ("alice", "bob"))
    assert alice.access_token != bob.access_token
    assert 2 == local_idp.count("token:token-exchange")
    assert bob == exchanged(local_idp, "bob", storage).execute()


def test_what_lies_far_upstream_tells_a_step_too() -> None:
    """The steps between need not know whose token it is."""
    one, other = (list(keys(Tenant("a", who), step("b", "a"), step("c", "b"))) for who in ("alice", "bob"))
    assert set() == set(one) & set(other)
    assert ["a:alice", "b:", "c:"] == [one[0], one[1][:2], one[2][:2]]


def test_a_step_beside_is_no_part_of_a_key() -> None:
    """Only what a step depends on counts, in whichever order it says so."""
    alone = keys(Tenant("a", "x"), step("z"), step("b", "a", "z"))
    beside = keys(step("z"), Tenant("a", "x"), Tenant("y", "1"), step("b", "z", "a"))
    assert [key for key in alone if key.startswith("b:")] == [key for key in beside if key.startswith("b:")]


def test_names_alone_leave_a_key_as_it_is() -> None:
    """Where no step upstream says more than its name, a step's key is its name, after the prefix."""
    assert ["acme:a", "acme:b"] == list(keys(step("a"), step("b", "a"), prefix="acme"))


def test_no_prefix_looks_like_another_with_a_longer_step() -> None:
    """Tenants may name themselves, with colons if they like."""
    assert ["a:b%3Ac"] == list(keys(step("b:c"), prefix="a"))
    assert ["a%3Ab:c"] == list(keys(step("c"), prefix="a:b"))
    assert ["a%253Ab:c"] == list(keys(step("c"), prefix="a%3Ab"))


def test_borders_between_keys_do_not_move() -> None:
    """Two steps upstream never look like two others."""
    one = keys(Tenant("a", "1"), Tenant("b", "2b:3"), step("c", "a", "b"))
    other = keys(Tenant("a", "1b:2"), Tenant("b", "3"), step("c", "a", "b"))
    assert [] == [key for key in one if key in other]


def test_an_invalidated_step_is_forgotten_where_it_is_cached() -> None:
    """Invalidating looks where executing looks."""
    storage, clock = InMemoryTokenStorage(), FakeClock()
    last = Step("b", ["a"], clock=clock)
    pipeline = TokenFetchPipeline([Tenant("a", "alice"), last], storage, clock=clock)
    for invalidate in (lambda: pipeline.invalidate_step("b"), pipeline.invalidate_all):
        before = pipeline.execute()
        invalidate()
        assert before != pipeline.execute()
    assert 3 == last.fetches


def test_an_identity_is_asked_once_an_execution() -> None:
    """What could change between the lock and the write does not, and a slow reference is not read again and again."""
    asked: list[str] = []

    class Slow(Step):
        @property
        def cache_key(self) -> str:
            asked.append(self.name)
            return f"{self.name}:slow"

    keys(Slow("a", clock=FakeClock()), Slow("b", ["a"], clock=FakeClock()))
    assert ["a", "b"] == asked
