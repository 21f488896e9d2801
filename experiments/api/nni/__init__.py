"""NNI's REST API for one experiment."""
