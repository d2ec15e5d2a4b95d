"""``/metrics``: what the processes of a server have counted, for Prometheus.

Each process counts for itself, in plain numbers (``tally``, ``loop_lag``). When somebody asks, each takes a snapshot
(``snapshot``); those of all processes become one (``ledger``), and its text (``exposition``).
"""
