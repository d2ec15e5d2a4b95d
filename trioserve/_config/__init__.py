"""The options: each one once, in ``config``; around it how options are declared, where their values come from, and how
a value is read and checked.
"""

from trioserve._config.config import DEFAULT_ACCESS_FORMAT, OPTIONS, Config, Option, options

__all__ = ["DEFAULT_ACCESS_FORMAT", "OPTIONS", "Config", "Option", "options"]
