"""The guard of the event loop: notices from outside that it stands still, and says where."""
