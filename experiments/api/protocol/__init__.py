"""Code that all endpoints share: authentication, errors, pagination, idempotency, rate limit, OpenAPI schema."""
