"""Tables of other servers' options. They know nothing of ``Config``; a test holds them against it and against the
servers themselves. Imported only where an option of ours is missing, or somebody else's is found.
"""

from trioserve._config.peers.lookup import PEERS, Spell, advice_on, variables_without_effect
from trioserve._config.peers.table import Peer, Row

__all__ = ["PEERS", "Peer", "Row", "Spell", "advice_on", "variables_without_effect"]
