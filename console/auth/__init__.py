"""Sign-in by means other than a password: OpenID, a trusted proxy header."""
