"""The network at work: opened, looked at for soundness, given batches that fit in memory."""
