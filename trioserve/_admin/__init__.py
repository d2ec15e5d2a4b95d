"""What a running server shows of itself: the tree of its tasks."""
