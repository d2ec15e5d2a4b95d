"""The version, written once; the build and ``trioserve --version`` read it here."""

__version__ = "0.1.0"
