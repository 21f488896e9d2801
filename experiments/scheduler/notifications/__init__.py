"""Turn occurrences into messages and deliver them. The control process does both, a few seconds after the cause."""
