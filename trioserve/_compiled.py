"""Whether the hot path is compiled: this module is compiled together with it, or not at all."""

from typing import Final

__all__ = ["IS_COMPILED"]

IS_COMPILED: Final = not __file__.endswith(".py")
