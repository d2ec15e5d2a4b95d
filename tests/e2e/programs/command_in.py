"""The command, with another current directory: ``command_in.py DIRECTORY ARGUMENTS...``."""

import os
import sys

from trioserve.cli import main

if __name__ == "__main__":
    os.chdir(sys.argv.pop(1))
    main()
