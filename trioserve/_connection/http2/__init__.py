"""An HTTP/2 connection: a child task for each stream, which is a request with its answer."""
