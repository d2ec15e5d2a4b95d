"""The network, streams and tasks on trio."""
