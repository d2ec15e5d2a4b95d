"""The network, streams and tasks on asyncio and uvloop."""
