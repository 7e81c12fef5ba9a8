"""A refused connection means what its code says, in whatever language the server speaks."""

import psycopg
import pytest

from devtools.servers.refusing import RefusingPostgres
from include.nyc_taxi import faults
from include.nyc_taxi.errors import WarehouseBusy, WarehouseRefused
from include.nyc_taxi.targets.postgres.refusals import by_code


def refusal(server):
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(f"host={server.host} port={server.port} user=x password=secret dbname=y")
    return caught.value


@pytest.mark.parametrize(
    ("state", "words", "severity", "expected", "advice"),
    [
        ("28P01", "Passwort-Authentifizierung für Benutzer »x« fehlgeschlagen", "FATAL", WarehouseRefused, "login"),
        ("28000", "aucune entrée dans pg_hba.conf", "FATAL", WarehouseRefused, "pg_hba.conf"),
        ("3D000", 'база данных "y" не существует', "ВАЖНО", WarehouseRefused, "create the database"),
        ("53300", "データベースに接続が多すぎます", "FATAL", WarehouseBusy, ""),
        ("57P03", "el sistema de base de datos está iniciándose", "FATAL", WarehouseBusy, ""),
    ],
)
def test_a_refusal_in_another_language_is_told_by_its_code(state, words, severity, expected, advice):
    with RefusingPostgres(state, words, severity) as server:
        error = refusal(server)
        fault = faults.of_postgres(by_code(error))

    assert (fault.error, advice in fault.advice) == (expected, True)
    assert words in str(fault.tell("green", error))
    assert server.asked == 2


def test_a_refusal_in_english_is_told_by_its_words_and_not_asked_for_again():
    with RefusingPostgres("28P01", 'password authentication failed for user "x"') as server:
        error = refusal(server)

        assert by_code(error) is error
    assert server.asked == 1
    assert faults.of_postgres(error).error is WarehouseRefused


def test_a_server_that_is_away_is_not_asked_for_a_code():
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect("host=127.0.0.1 port=1")

    assert by_code(caught.value) is caught.value


def test_an_error_with_a_code_stays_as_it_is():
    error = psycopg.errors.InvalidPassword("x")

    assert by_code(error) is error


def test_a_server_that_has_a_code_of_its_own_is_told_as_its_class():
    with RefusingPostgres("28ABC", "nein") as server:
        error = refusal(server)

        assert by_code(error) is error
