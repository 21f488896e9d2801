"""NNI: its types, status words, algorithms and old configuration files, and a bridge for its own client."""
