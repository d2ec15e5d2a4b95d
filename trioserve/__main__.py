"""``python -m trioserve``: the same as the command ``trioserve``."""

from trioserve.cli import main

if __name__ == "__main__":
    main()
