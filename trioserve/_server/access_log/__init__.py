"""The access log: what a line says, and who writes it."""
