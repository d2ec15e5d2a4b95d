"""HTTP/2: an engine for the frames, and around it what exists once (RFC 9113)."""
