"""What an error reporter would show of an error: its text, its chain, and the variables of its traceback."""

import traceback


def shown(error: BaseException) -> str:
    """Return all of it as one text; the frames of tests, which name secrets by right, are left out."""
    parts = []
    while error is not None:
        parts += [repr(error), str(vars(error))]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                parts += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
        error = error.__cause__ or error.__context__
    return "\n".join(parts)
