"""HTTP/1.1: bytes in, heads and bodies out (RFC 9112)."""
