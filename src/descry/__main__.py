"""`python -m descry` is `descry`."""

from .cli import entry

if __name__ == "__main__":
    entry()
