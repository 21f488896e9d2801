"""DATABASE_URL, read."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from console import database


def test_it_reads_user_password_host_port_and_name():
    """TD-X8: PostgreSQL by DATABASE_URL."""
    read = database.postgres("postgresql://deck:p%40ss%2Fword@db.example:6543/trials?sslmode=require")
    assert (read["USER"], read["PASSWORD"], read["HOST"], read["PORT"], read["NAME"]) == (
        "deck",
        "p@ss/word",
        "db.example",
        "6543",
        "trials",
    )
    assert read["OPTIONS"]["sslmode"] == "require"


def test_it_reads_a_socket_folder():
    read = database.postgres("postgres://deck:@/trials?host=/run/postgresql")
    assert (read["HOST"], read["PORT"], read["NAME"]) == ("/run/postgresql", "", "trials")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://me:secret@db/trials", "only PostgreSQL is supported"),
        ("trials", "only PostgreSQL is supported"),
        ("postgresql://me:secret@db/", "has no database name"),
        ("postgresql://me:secret@db", "has no database name"),
        ("postgresql://me:secret@db:port/trials", "is invalid"),
        ("postgresql://me:secret@[db/trials", "is invalid"),
        ("postgresql://me:secret@db/trials?sslmod=require", "unknown option 'sslmod'"),
    ],
)
def test_a_malformed_one_gets_one_sentence_without_the_password(url, says):
    with pytest.raises(ImproperlyConfigured) as caught:
        database.postgres(url)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
