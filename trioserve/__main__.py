"""The command in a process of its own: ``trioserve``, or ``python -m trioserve``."""

from trioserve._imports import import_for_good

__all__ = ["main"]


def main() -> None:
    """Run the command."""
    import_for_good("trioserve.cli")
    from trioserve.cli import main as command

    command()


if __name__ == "__main__":
    main()
