"""Pages that show trials, or experiments, side by side."""
