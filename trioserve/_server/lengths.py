"""Lengths of time as parts of a line."""

__all__ = ["shown_length"]


def shown_length(seconds: float) -> str:
    """``120 ms``, ``1.5 s``, ``30 s``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
