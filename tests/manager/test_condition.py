"""Who waits for a renewal: what a notification does to those who come and go as it goes round."""

from tokenkit.manager._condition import RenewalCondition


class Leaving:
    """A mailbox whose owner had got hold of the list of all, to leave it, just before they were all woken."""

    def __init__(self, condition: RenewalCondition) -> None:
        self._listed = condition._mailboxes
        self._listed.add(self)
        self.woken = 0

    def put(self, _: None) -> None:
        self.woken += 1
        self._listed.discard(self)


def test_everybody_is_woken_though_some_are_just_leaving() -> None:
    """Without a global lock a set may shrink while another thread goes through it."""
    condition = RenewalCondition()
    waiting = [Leaving(condition) for _ in range(3)]
    condition.notify_all()
    assert [1, 1, 1] == [one.woken for one in waiting]
    assert 0 == condition.waiters


def test_who_has_left_is_not_woken() -> None:
    """Nobody reads its mailbox any more."""
    condition = RenewalCondition()
    gone, waiting = condition.join(), condition.join()
    condition.leave(gone)
    assert 1 == condition.waiters
    condition.notify_all()
    assert (True, False) == (gone.empty(), waiting.empty())
