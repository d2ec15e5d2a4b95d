"""Stands for a frozen program, which has no interpreter for others: ``frozen.py EXECUTABLE APPS BACKEND WHAT``.

``EXECUTABLE`` starts this program with these two arguments and those that it gets.
"""

import sys

import trioserve

if __name__ == "__main__":
    sys.executable = sys.argv.pop(1)
    sys.path.append(sys.argv.pop(1))
    vars(sys)["frozen"] = True
    backend, what = sys.argv[1:]
    trioserve.run("probe:app", backend=backend, port=0, reload=what == "reload", workers=2 if what == "workers" else 1)
    sys.stderr.write("run() returned\n")
