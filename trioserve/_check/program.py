"""The program of a process that tries an application on one backend. It is run as a file, as that of a worker is.

It reads a plan as JSON from stdin, and writes what came of it into the file that the plan names.
"""

import json
import os
import sys
import threading


def _try_as_planned() -> None:
    words = json.load(sys.stdin)
    sys.path[:] = words.pop("path")  # that of the command, and not this file's directory
    result_file = words.pop("result_file")
    from trioserve._check.trial import Plan, run_trial

    result = run_trial(Plan(**words))
    with open(result_file, "w", encoding="utf-8") as file:
        json.dump(result, file)
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    if not all(thread.daemon for thread in others):
        os._exit(0)  # Python would wait for threads of the application, which may wait for each other


if __name__ == "__main__":
    _try_as_planned()
