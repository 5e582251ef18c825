"""What an endpoint says is shown without the secrets that it was sent."""

from tokenkit._secrecy.scrubber import Scrubber


def test_bytes_are_secrets_as_texts_are() -> None:
    """A body may have been given as bytes; what is no text, such as True, is taken out of no message."""
    scrubber = Scrubber({"password": b"canary", "remember": True, "otp": None, "pin": ""})
    assert "[secret] is wrong: True, None" == scrubber.clean("canary is wrong: True, None")
