"""The REST interface of BigQuery, v2, as far as the Google client of this project needs it."""

from __future__ import annotations

import json
import logging
import secrets
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from devtools.emulators.bigquery import sql
from devtools.emulators.bigquery.errors import Refused, not_found
from devtools.emulators.bigquery.fields import quoted, row_to_json
from devtools.emulators.bigquery.jobs import Jobs
from devtools.emulators.bigquery.tables import TableId
from devtools.emulators.bigquery.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from duckdb import DuckDBPyConnection
    from starlette.requests import Request

    from devtools.emulators.bigquery.jobs import Job
    from devtools.emulators.bigquery.tables import Resource

log = logging.getLogger(__name__)

PAGE_ROWS = 10_000
PATIENCE_SECONDS = 10.0  # how long to wait for a job if the client does not say
QUERY_SETTINGS = {"query", "defaultDataset", "parameterMode", "queryParameters", "useLegacySql", "destinationTable"}


class BigQuery:
    """The server's application and its data.

    Args:
        folder: holds everything that persists.
    """

    def __init__(self, folder: Path) -> None:
        uploads = folder / "uploads"
        uploads.mkdir(parents=True, exist_ok=True)
        for left in uploads.iterdir():
            left.unlink() if left.is_file() else None
        self.warehouse = Warehouse(folder, uploads)
        self.jobs = Jobs(self.warehouse, uploads)
        self.application = Starlette(
            routes=[
                Mount("/bigquery/v2/projects/{project}", routes=[*self._dataset_routes(), *self._job_routes()]),
                Route(
                    "/upload/bigquery/v2/projects/{project}/jobs",
                    _Uploads(self._start, uploads).answer,
                    methods=["POST", "PUT"],
                ),
                Route("/", lambda _: JSONResponse({"status": "ok"})),
            ],
            exception_handlers={Refused: _refuse},
        )

    def close(self) -> None:
        """Interrupt the jobs and close the files."""
        self.jobs.close()
        self.warehouse.close()

    def _dataset_routes(self) -> list[Route]:
        tables = "/datasets/{dataset}/tables"
        return [
            _route("/datasets", GET=self._list_datasets, POST=self._create_dataset),
            _route(
                "/datasets/{dataset}",
                GET=self._get_dataset,
                PATCH=self._patch_dataset,
                DELETE=self._delete_dataset,
            ),
            _route(tables, GET=self._list_tables, POST=self._create_table),
            _route(tables + "/{table}", GET=self._get_table, PATCH=self._patch_table, DELETE=self._delete_table),
        ]

    def _job_routes(self) -> list[Route]:
        return [
            _route("/jobs", GET=self._list_jobs, POST=self._insert_job),
            _route("/jobs/{job}", GET=self._get_job),
            _route("/queries", POST=self._query),
            _route("/queries/{job}", GET=self._query_results),
        ]

    # Datasets

    def _list_datasets(self, _request: Request, _: Resource) -> Resource:
        return {"datasets": self.warehouse.every(self.warehouse.cursor(), "dataset")}

    def _create_dataset(self, request: Request, body: Resource) -> Resource:
        return self.warehouse.create_dataset(self.warehouse.cursor(), request.path_params["project"], body)

    def _get_dataset(self, request: Request, _: Resource) -> Resource:
        project, name = request.path_params["project"], request.path_params["dataset"]
        return self.warehouse.dataset(self.warehouse.cursor(), project, name)

    def _patch_dataset(self, request: Request, body: Resource) -> Resource:
        project, name = request.path_params["project"], request.path_params["dataset"]
        etag = request.headers.get("if-match")
        return self.warehouse.patch_dataset(self.warehouse.cursor(), project, name, body, etag)

    def _delete_dataset(self, request: Request, _: Resource) -> None:
        project, name = request.path_params["project"], request.path_params["dataset"]
        with_tables = request.query_params.get("deleteContents") == "true"
        self.warehouse.delete_dataset(self.warehouse.cursor(), project, name, with_tables=with_tables)

    # Tables

    def _list_tables(self, request: Request, _: Resource) -> Resource:
        project, dataset = request.path_params["project"], request.path_params["dataset"]
        tables = self.warehouse.tables(self.warehouse.cursor(), project, dataset)
        return {"tables": tables, "totalItems": len(tables)}

    def _create_table(self, request: Request, body: Resource) -> Resource:
        cursor, table = self.warehouse.cursor(), TableId.of(body["tableReference"], request.path_params["project"])
        self.warehouse.create_table(cursor, table, body, view_sql=self._view_sql(cursor, table, body))
        return self.warehouse.table(cursor, table)

    def _view_sql(self, cursor: DuckDBPyConnection, table: TableId, body: Resource) -> str | None:
        """Return the query of the view that a resource describes, translated for DuckDB; None if it describes none."""
        view = (body.get("view") or {}).get("query")
        return sql.Translation(sql.parsed(view), self.warehouse, cursor, table.project).sql() if view else None

    def _get_table(self, request: Request, _: Resource) -> Resource:
        return self.warehouse.table(self.warehouse.cursor(), _table(request))

    def _patch_table(self, request: Request, body: Resource) -> Resource:
        etag = request.headers.get("if-match")
        cursor, table = self.warehouse.cursor(), _table(request)
        self.warehouse.patch_table(cursor, table, body, etag, view_sql=self._view_sql(cursor, table, body))
        return self.warehouse.table(cursor, table)

    def _delete_table(self, request: Request, _: Resource) -> None:
        self.warehouse.delete_table(self.warehouse.cursor(), _table(request))

    # Jobs

    def _list_jobs(self, _request: Request, _: Resource) -> Resource:
        return {"jobs": [resource | {"state": resource["status"]["state"]} for resource in self.jobs.every()]}

    def _insert_job(self, request: Request, body: Resource) -> Resource:
        return self._start(request.path_params["project"], body)

    def _start(self, project: str, body: Resource, upload: Path | None = None) -> Resource:
        body.setdefault("jobReference", {}).setdefault("jobId", _new_job_id())
        try:
            job = self.jobs.insert(project, body, upload)
        except BaseException:
            if upload:
                upload.unlink(missing_ok=True)
            raise
        self.jobs.await_end(job, PATIENCE_SECONDS)
        return job.resource

    def _get_job(self, request: Request, _: Resource) -> Resource:
        return self._job(request).resource

    def _query(self, request: Request, body: Resource) -> Resource:
        settings = {key: value for key, value in body.items() if key in QUERY_SETTINGS}
        settings.setdefault("useLegacySql", True)
        configuration = {"query": settings, "labels": body.get("labels", {}), "dryRun": body.get("dryRun", False)}
        reference = {"jobId": _new_job_id()}
        if body.get("location"):
            reference["location"] = body["location"]
        job = self.jobs.insert(
            request.path_params["project"], {"configuration": configuration, "jobReference": reference}
        )
        self.jobs.await_end(job, int(body.get("timeoutMs", PATIENCE_SECONDS * 1000)) / 1000)
        return self._results(request, job, body.get("maxResults"), _timestamps(body.get("formatOptions") or {}))

    def _query_results(self, request: Request, _: Resource) -> Resource:
        job = self._job(request)
        seconds = int(request.query_params.get("timeoutMs", PATIENCE_SECONDS * 1000)) / 1000
        self.jobs.await_end(job, seconds)
        limit = request.query_params.get("maxResults")
        return self._results(request, job, int(limit) if limit else None, _timestamps_of(request))

    def _results(self, request: Request, job: Job, limit: int | None, timestamps: str) -> Resource:
        status, about = job.resource["status"], job.resource["statistics"].get("query", {})
        answer = {"kind": "bigquery#getQueryResultsResponse", "jobReference": job.resource["jobReference"]}
        if status["state"] != "DONE":
            return answer | {"jobComplete": False}
        if "errorResult" in status:
            raise Refused(status["errorResult"]["reason"], status["errorResult"]["message"])
        answer |= {"jobComplete": True, "totalBytesProcessed": "0", "cacheHit": False}
        if "schema" not in about:
            return answer | {"totalRows": "0", "numDmlAffectedRows": about["numDmlAffectedRows"]}
        if job.result is None:
            raise not_found("Table", f"with the results of job {job.id}: only the last queries keep theirs")
        source, fields = job.result
        return answer | {"schema": {"fields": fields}} | self._rows(request, source, fields, limit, timestamps)

    def _rows(
        self, request: Request, source: str, fields: list[Resource], limit: int | None, timestamps: str
    ) -> Resource:
        """Return a page of rows.

        Args:
            request: may ask for a page.
            source: the DuckDB name of the rows.
            fields: their columns.
            limit: the maximum number of rows.
            timestamps: as for `row_to_json`.
        """
        start = int(request.query_params.get("pageToken") or request.query_params.get("startIndex") or 0)
        size = min(PAGE_ROWS if limit is None else limit, PAGE_ROWS)
        cursor = self.warehouse.cursor()
        columns = ", ".join(quoted(field["name"]) for field in fields)
        counted = cursor.execute(f"SELECT count(*) FROM {source}").fetchone()
        total = int(counted[0]) if counted else 0
        rows = cursor.execute(f"SELECT {columns} FROM {source} LIMIT {size} OFFSET {start}").fetchall()
        page: Resource = {
            "totalRows": str(total),
            "rows": [row_to_json(row, fields, timestamps=timestamps) for row in rows],
        }
        if start + len(rows) < total:
            page["pageToken"] = str(start + len(rows))
        return page

    def _job(self, request: Request) -> Job:
        location = request.query_params.get("location")
        return self.jobs.get(request.path_params["project"], request.path_params["job"], location)


class _Uploads:
    """Load jobs that bring their file, in one request or in pieces.

    Args:
        start: starts a job of a project, with its body and file.
        folder: holds the files.
    """

    def __init__(self, start: Callable[[str, Resource, Path], Resource], folder: Path) -> None:
        self._start = start
        self._folder = folder
        self._sessions: dict[str, tuple[str, Resource, Path]] = {}

    async def answer(self, request: Request) -> Response:
        """Take a file, or a piece of one; start the job when the file is whole."""
        if request.method == "PUT":
            return await self._take_piece(request)
        project, path = request.path_params["project"], self._folder / secrets.token_hex(16)
        if request.query_params["uploadType"] == "resumable":
            self._sessions[path.name] = (project, await request.json(), path)
            path.touch()
            address = request.url.include_query_params(upload_id=path.name)
            return Response(headers={"Location": str(address)})
        header = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts: Any = BytesParser().parsebytes(header + await request.body()).get_payload()
        about, content = (part.get_payload(decode=True) for part in parts)
        path.write_bytes(content)
        return JSONResponse(await run_in_threadpool(self._start, project, json.loads(about), path))

    async def _take_piece(self, request: Request) -> Response:
        session = request.query_params["upload_id"]
        if session not in self._sessions:
            raise not_found("Upload", session)
        project, body, path = self._sessions[session]
        span, _, total = request.headers["content-range"].removeprefix("bytes ").partition("/")
        with path.open("r+b") as file:
            if span != "*":
                file.seek(int(span.partition("-")[0]))
            else:
                file.seek(0, 2)
            async for block in request.stream():
                file.write(block)
            file.truncate()
            size = file.tell()
        if total != str(size):
            received = {"Range": f"bytes=0-{size - 1}"} if size else {}
            return Response(status_code=308, headers=received)
        del self._sessions[session]
        return JSONResponse(await run_in_threadpool(self._start, project, body, path))


def _route(path: str, **answers: Callable[[Request, Resource], Resource | None]) -> Route:
    async def answer(request: Request) -> Response:
        body = await request.body()
        given = json.loads(body) if body else {}
        try:
            result = await run_in_threadpool(answers[request.method], request, given)
        except Refused:
            raise
        except Exception as error:
            # Not as a server error: clients would retry it for ten minutes.
            log.exception("%s %s", request.method, request.url.path.removeprefix(request.scope["root_path"]))
            raise Refused("invalid", f"local cloud: {type(error).__name__}: {error}") from error
        return Response(status_code=204) if result is None else JSONResponse(result)

    return Route(path, answer, methods=list(answers))


def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return JSONResponse(error.response(), status_code=error.status)


def _table(request: Request) -> TableId:
    given = request.path_params
    return TableId.of({"datasetId": given["dataset"], "tableId": given["table"]}, given["project"])


def _new_job_id() -> str:
    return f"job_{secrets.token_urlsafe(20)}"


def _timestamps_of(request: Request) -> str:
    prefix = "formatOptions."
    asked = request.query_params
    return _timestamps({key.removeprefix(prefix): value for key, value in asked.items() if key.startswith(prefix)})


def _timestamps(options: Resource) -> str:
    if options.get("timestampOutputFormat") == "ISO8601_STRING":
        return "iso"
    return "int64" if str(options.get("useInt64Timestamp", "")).lower() == "true" else "float"
