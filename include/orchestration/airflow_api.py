"""airflow_api: the questions that the page and `make status` ask Airflow, through its REST API.

The API is Airflow's public interface: an answer holds only what the user of the client may see.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

_SECONDS = 30
_LARGEST_PAGE = 100  # of answers to GET, unless [api] maximum_page_limit says otherwise
_HIDDEN = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class AirflowUnavailable(Exception):
    """Airflow's API did not answer, refused the login or sent something else than documented."""


@dataclass(frozen=True)
class DagRun:
    """A run of a Dag, as far as it matters here."""

    dag_id: str
    run_id: str
    state: str
    conf: Mapping[str, Any]
    partition_key: str | None
    logical_date: datetime | None
    at: datetime
    """When the run ended, or else started, or else was queued."""


@dataclass(frozen=True)
class MappedTask:
    """A mapped instance of a task that has ended; its label is the name of its map index."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str
    label: str
    ended_at: datetime


@dataclass(frozen=True)
class TaskTry:
    """The last try of a task of a run."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    number: int
    at: datetime | None
    """When it ended, or else started."""


class AirflowApi:
    """The REST API as one user sees it.

    Args:
        client: is logged in; its base URL is that of the server, without `/api/v2`.
        runs_per_page: how many runs to ask for at a time.
    """

    def __init__(self, client: httpx.Client, *, runs_per_page: int = 1000) -> None:
        self._client = client
        self._runs_per_page = runs_per_page

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def runs(
        self, dag_ids: Collection[str], states: Sequence[str], *, most: int, ended_since: datetime | None = None
    ) -> list[DagRun]:
        """Return the runs of these Dags in these states, newest first, up to `most`."""
        wanted: dict[str, Any] = {"dag_ids": sorted(dag_ids), "states": list(states), "order_by": "-id"}
        if ended_since is not None:
            wanted["end_date_gte"] = ended_since.isoformat()

        def ask(seen: int) -> Any:  # noqa: ANN401 - JSON
            return self._answer(
                "POST", "dags/~/dagRuns/list", json={**wanted, "page_offset": seen, "page_limit": self._runs_per_page}
            )

        return [_run(row) for row in islice(self._pages(ask, "dag_runs"), most)]

    def mapped_tasks(
        self,
        dag_id: str,
        run_id: str | None = None,
        *,
        states: Sequence[str],
        task_id: str | None = None,
        ended_since: datetime | None = None,
        most: int,
    ) -> list[MappedTask]:
        """Return the mapped task instances in these states, of one run or of all, the last to end first."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id, safe='') if run_id else '~'}/taskInstances"
        wanted: dict[str, Any] = {"state": list(states), "order_by": "-end_date", "limit": _LARGEST_PAGE}
        if task_id is not None:
            wanted["task_id"] = task_id
        if ended_since is not None:
            wanted["end_date_gte"] = ended_since.isoformat()
        pages = self._pages(lambda seen: self._answer("GET", path, params={**wanted, "offset": seen}), "task_instances")
        return [_mapped_task(row) for row in islice(pages, most) if row["map_index"] >= 0 and row["end_date"]]

    def labels(self, runs: Sequence[DagRun]) -> dict[tuple[str, str], str]:
        """Return the label of each run, by Dag and run id, that any of its tasks that are not mapped has been given."""
        if not runs:
            return {}
        wanted = {"dag_ids": sorted({run.dag_id for run in runs}), "dag_run_ids": [run.run_id for run in runs]}

        def ask(seen: int) -> Any:  # noqa: ANN401 - JSON
            page = {"page_offset": seen, "page_limit": self._runs_per_page}
            return self._answer("POST", "dags/~/dagRuns/~/taskInstances/list", json=wanted | page)

        rows = (row for row in self._pages(ask, "task_instances") if row["map_index"] < 0)
        return {(row["dag_id"], row["dag_run_id"]): label for row in rows if (label := row["rendered_map_index"])}

    def tries(self, dag_id: str, run_id: str, map_index: int) -> list[TaskTry]:
        """Return the last try of each task of a run with this map index, which is -1 for tasks that are not mapped."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances"
        page = self._answer("GET", path, params={"map_index": map_index, "limit": _LARGEST_PAGE})
        return [_try(row) for row in page["task_instances"]] if page else []

    def log(self, last: TaskTry) -> list[dict[str, Any]]:
        """Return the messages that a try has logged so far; none if there is no log, or if the user may not see it."""
        path = f"dags/{last.dag_id}/dagRuns/{quote(last.run_id, safe='')}/taskInstances/{last.task_id}/logs"
        page = self._answer("GET", f"{path}/{last.number}", params={"map_index": last.map_index, "full_content": True})
        return [each for each in page["content"] if isinstance(each, dict)] if page else []

    def returned(self, run: DagRun, task_id: str) -> Any:  # noqa: ANN401 - it is whatever the task returned
        """Return what a task of the run returned; None if it has not yet, or if the user may not see it."""
        run_id = quote(run.run_id, safe="")
        path = f"dags/{run.dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        entry = self._answer("GET", path, params={"deserialize": True})
        return None if entry is None else entry["value"]

    def _pages(self, ask: Callable[[int], Any], name: str) -> Iterator[Any]:
        """The rows of all pages; `ask` is given how many rows have been seen."""
        seen = 0
        while page := ask(seen):
            yield from page[name]
            seen += len(page[name])
            if not page[name] or seen >= page["total_entries"]:
                return

    def _answer(self, method: str, path: str, **request: Any) -> Any:  # noqa: ANN401 - JSON
        """The API's answer; None for what is not there or hidden from the user."""
        try:
            answer = self._client.request(method, f"api/v2/{path}", **request)
            if answer.status_code in _HIDDEN:
                return None
            return answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise AirflowUnavailable(f"{method} api/v2/{path}: {error}") from error


def log_in(url: str, user: str, password: str) -> AirflowApi:
    """Return the API of the server at a URL as this user sees it.

    Raises:
        AirflowUnavailable: no server answers there, or it refuses the login.
    """
    client = httpx.Client(base_url=url, timeout=_SECONDS)
    try:
        answer = client.post("auth/token", json={"username": user, "password": password})
        token = answer.raise_for_status().json()["access_token"]
    except httpx.HTTPStatusError as error:
        client.close()
        raise AirflowUnavailable(f"{url} refuses the login of {user!r}: HTTP {error.response.status_code}") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        client.close()
        raise AirflowUnavailable(f"no API server answers at {url}: {error}") from error
    client.headers["Authorization"] = f"Bearer {token}"
    return AirflowApi(client)


def _run(row: Mapping[str, Any]) -> DagRun:
    begin = _moment(row["start_date"]) or _moment(row["queued_at"]) or datetime.now(UTC)
    return DagRun(
        dag_id=row["dag_id"],
        run_id=row["dag_run_id"],
        state=row["state"],
        conf=row["conf"] or {},
        partition_key=row["partition_key"],
        logical_date=_moment(row["logical_date"]),
        at=_moment(row["end_date"]) or begin,
    )


def _mapped_task(row: Mapping[str, Any]) -> MappedTask:
    return MappedTask(
        dag_id=row["dag_id"],
        run_id=row["dag_run_id"],
        task_id=row["task_id"],
        map_index=row["map_index"],
        state=row["state"],
        label=row["rendered_map_index"] or "",
        ended_at=datetime.fromisoformat(row["end_date"]),
    )


def _try(row: Mapping[str, Any]) -> TaskTry:
    return TaskTry(
        dag_id=row["dag_id"],
        run_id=row["dag_run_id"],
        task_id=row["task_id"],
        map_index=row["map_index"],
        state=row["state"],
        number=row["try_number"],
        at=_moment(row["end_date"]) or _moment(row["start_date"]),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
