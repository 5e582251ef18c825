"""A projected service account token: a JWT in a file that the kubelet swaps."""

import base64
import json
import tempfile
import time
from pathlib import Path

from tokenkit import TokenManager
from tokenkit.fetchers import FileTokenFetcher


def main():
    with tempfile.TemporaryDirectory() as directory:
        volume = Path(directory)
        project(volume, "first")
        # In a pod: FileTokenFetcher("/var/run/secrets/tokens/my-token").
        with TokenManager(FileTokenFetcher(volume / "token", reread=0.5)) as manager:
            print(f"at the start: {subject(manager.get_token())}")
            project(volume, "second")
            end = time.monotonic() + 10
            while subject(manager.get_token()) == "first" and time.monotonic() < end:
                time.sleep(0.1)
            print(f"after the swap: {subject(manager.get_token())}")
            (volume / "token").unlink()
            time.sleep(1)
            left = manager.get_token().expires_in()
            name = subject(manager.get_token())
            print(f"while the file is gone: {name}, good for {left:.0f} more seconds")


def project(volume, name):
    """Write a token into a directory of its own, and swap a link to it in one step."""
    claims = {"sub": name, "exp": int(time.time()) + 3600}
    parts = ({"alg": "none"}, claims, {})
    token = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in parts
    )
    (volume / name).mkdir()
    (volume / name / "token").write_text(token)
    (volume / "next").symlink_to(volume / name / "token")
    (volume / "next").replace(volume / "token")


def subject(token):
    claims = token.access_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))[
        "sub"
    ]


if __name__ == "__main__":
    main()
