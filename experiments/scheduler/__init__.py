"""What the control process runs: the conductor and what it decides by."""
