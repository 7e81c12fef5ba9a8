"""elsewhere: from which URLs, besides those of the sources, a run may load a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from airflow.sdk import Variable

from include.nyc_taxi import catalog
from include.nyc_taxi.addresses import Address, host_of
from include.nyc_taxi.errors import SetUpError
from include.orchestration import connections

if TYPE_CHECKING:
    from include.nyc_taxi.targets.loads import Load

HOSTS_VARIABLE = "taxi_url_hosts"


class Elsewhere(NamedTuple):
    """A URL that a file may be loaded from, with the login that is sent there, and where it may redirect to."""

    url: str
    redirect_hosts: tuple[str, ...]


def allowed(url: str) -> Elsewhere:
    """Return the URL of a param if its host is that of a source's connection, or one of the Variable `taxi_url_hosts`.

    To the host of a connection, the login of that connection is sent.

    Raises:
        ValueError: it is not a URL of the web, it has a login, or the Variable is not a list of hosts.
        SetUpError: its host is neither.
    """
    try:
        wanted = Address.parse(url)
        host = host_of(url)
    except ValueError as error:
        raise ValueError(f"param url: {error}") from None
    if wanted.login is not None:
        raise ValueError(f"param url={wanted} has a login; expected none: put it into a connection to its host")
    listed, by_source = listed_hosts(), _of_connections()
    if host in by_source:
        base, redirect_hosts = by_source[host]
        return Elsewhere(_with_login_of(base, url), (*redirect_hosts, *listed))
    if host in listed:
        return Elsewhere(url, listed)
    raise SetUpError(
        f"param url={wanted}: host {host!r} is not allowed; expected one of {sorted({*by_source, *listed})}: "
        f"add it to the Variable {HOSTS_VARIABLE}"
    )


def origin_of(load: Load) -> dict[str, str | None]:
    """Return the params of a run that downloads the file of a load again.

    Nobody keeps the query of a URL, and without it, it is another one: then they are those of the publisher's file.
    """
    if load.source is None or not catalog.is_elsewhere(load.source):
        return {"source": load.source}
    return {"url": load.source_url} if catalog.elsewhere(load.source_url).name == load.source else {}


def listed_hosts() -> tuple[str, ...]:
    """Return the hosts of the Variable `taxi_url_hosts`, each with its port unless that is 80 or 443.

    Raises:
        ValueError: it is neither a JSON list of hosts, nor hosts with commas between them.
    """
    value = str(Variable.get(HOSTS_VARIABLE, default=None) or "").strip()
    try:
        names = json.loads(value) if value.startswith("[") else [name for name in value.split(",") if name.strip()]
        return tuple(host_of(f"https://{_bare(name)}") for name in names)
    except (ValueError, TypeError, AttributeError):
        raise ValueError(
            f"Variable {HOSTS_VARIABLE!r} is {value!r}; "
            "expected hosts with commas between them, such as files.example.org, mirror.example.org:8443"
        ) from None


def _bare(name: str) -> str:
    name = name.strip()
    if not name or any(mark in name for mark in "/?#@*"):
        raise ValueError(f"{name!r} is no host")
    return name


def _of_connections() -> dict[str, tuple[Address, list[str]]]:
    """Return the base URL of each source whose connection is set, and where it may redirect to, by host."""
    found = {}
    for source in catalog.sources().values():
        if connections.is_set(source.connection):
            base = Address.parse(connections.base_url(source.name))
            redirects = [*source.redirect_hosts, *connections.redirect_hosts(source.name)]
            found[host_of(base.url)] = (base, redirects)
    return found


def _with_login_of(base: Address, url: str) -> str:
    """Return the URL with the login of a base URL, unless it would be sent by http and not by https."""
    scheme, _, rest = url.partition("://")
    if base.login is None or not base.url.lower().startswith(f"{scheme.lower()}://"):
        return url
    login, password = (quote(part, safe="") for part in base.login)
    return f"{scheme}://{login}:{password}@{rest}"
