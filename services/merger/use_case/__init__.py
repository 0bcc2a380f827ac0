"""What the merger does: merge a batch of segments, restore an earlier version. The commit protocol is shared."""
