"""A lock that one thread holds for a block, which an interrupt cannot keep locked."""

import pytest

from tokenkit.storage._locks.holds import Hold


class Lock(Hold):
    """What a signal falls into, as often as *interrupts* says, on its way to being free."""

    def __init__(self, interrupts: int, error: BaseException) -> None:
        self.is_held = False
        self.interrupts = interrupts
        self.error = error

    def take(self) -> None:
        self.is_held = True

    def give_back(self) -> None:
        self.interrupts -= 1
        if self.interrupts >= 0:
            raise self.error
        self.is_held = False


def test_an_interrupt_on_leaving_goes_on_and_the_lock_is_free() -> None:
    """Giving it back is repeated, once."""
    lock = Lock(1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt), lock:
        assert lock.is_held
    assert not lock.is_held


def test_a_lock_that_cannot_be_given_back_is_not_tried_again() -> None:
    """An error of the storage is told as it is."""
    lock = Lock(2, OSError())
    with pytest.raises(OSError), lock:  # whatever it is
        assert lock.is_held
    assert 1 == lock.interrupts
