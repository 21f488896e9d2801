"""What all endpoints share: authentication, errors, pages of lists, idempotency, rate limit, description."""
