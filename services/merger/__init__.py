"""The merger: validated segments → checkpoints; commits, ledger and watermark."""
