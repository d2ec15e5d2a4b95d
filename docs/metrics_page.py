"""The reference of metrics as Markdown, from the table that the server itself exposes them by."""

from trioserve._admin.metrics.families import FAMILIES, OF_APPLICATION, OPTIONS, REASONS, Family

__all__ = ["metrics_markdown", "options_that_strike", "reasons"]


def metrics_markdown() -> str:
    """One row for each family."""
    head = ["| metric | kind | labels | what it says |", "|---|---|---|---|"]
    return "\n".join([*head, *map(row_of, FAMILIES.values())]) + "\n"


def row_of(family: Family) -> str:
    return f"| `{family.name}` | {kind_of(family)} | {labels_of(family)} | {family.help} |"


def options_that_strike() -> str:
    """The values of the label ``option``."""
    return ", ".join(f"`{option}`" for option in OPTIONS)


def reasons() -> str:
    """The values of the label ``reason``."""
    return ", ".join(f"`{reason}`" for reason in (*REASONS, OF_APPLICATION))


def kind_of(family: Family) -> str:
    if not family.buckets:
        return family.kind
    return f"histogram, seconds: {', '.join(f'{bound:g}' for bound in family.buckets)}"


def labels_of(family: Family) -> str:
    return ", ".join(f"`{label}`" for label in family.labels)
