"""Sign-in without a password: OpenID Connect, or a header of a trusted proxy."""
