"""The program of a worker process. It is run as a file, with the name of the variable that says where modules are.

With ``python -m`` the current directory would come first in the path of modules, and an application's ``logging.py`` or
``types.py`` would be taken for Python's.
"""

import os
import sys


def begin() -> None:
    sys.path[:] = os.environ[sys.argv[1]].split("\n")[1:]  # the supervisor's, and not this file's directory
    from trioserve._imports import import_for_good

    import_for_good("trioserve._supervisor.worker")
    from trioserve._supervisor.worker import become_worker

    become_worker()


if __name__ == "__main__":
    begin()
