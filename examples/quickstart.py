"""See it work: a token in three steps for 16 threads; ``tokenkit demo`` is the same."""

from tokenkit.testing.demo import main

if __name__ == "__main__":
    raise SystemExit(main())
