"""Load, copy and query jobs: each runs in a thread of its own, and is kept under its id when it is done."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from devtools.emulators.bigquery import sources, sql
from devtools.emulators.bigquery.errors import Refused, not_found
from devtools.emulators.bigquery.fields import fields_of, quoted
from devtools.emulators.bigquery.warehouse import ANYWHERE, EMPTY, TRUNCATE, Rows, TableId

if TYPE_CHECKING:
    from concurrent.futures import Future

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field
    from devtools.emulators.bigquery.warehouse import Resource, Warehouse

log = logging.getLogger(__name__)

KINDS = ("load", "copy", "query")
THREADS = 8
KEPT_RESULTS = 100  # results of queries that named no destination; those of older queries are dropped


@dataclass
class Job:
    """A job that runs, or has run since the server started.

    Attributes:
        resource: as the REST interface gives it.
        cursor: where it runs.
        done: is set when it has ended, well or not.
        result: DuckDB's name of the rows of a query, and their fields.
    """

    resource: Resource
    cursor: DuckDBPyConnection
    done: Future[None] | None = None
    result: tuple[str, list[Field]] | None = None
    statistics: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id, unique in the project."""
        return str(self.resource["jobReference"]["jobId"])


class Jobs:
    """All jobs of a warehouse.

    Args:
        warehouse: where they work.
        folder: for files that are downloaded or uploaded while their job runs.
    """

    def __init__(self, warehouse: Warehouse, folder: Path) -> None:
        self._warehouse = warehouse
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._results: list[Job] = []
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="job")

    def close(self) -> None:
        """Interrupt what runs."""
        for job in self._jobs.values():
            self.cancel(job)
        self._threads.shutdown(cancel_futures=True)

    def insert(self, project: str, body: Resource, upload: Path | None = None) -> Job:
        """Start a job.

        Args:
            project: the client's.
            body: its configuration and reference.
            upload: the file of a load job that brings its own; it is deleted when the job has ended.
        """
        configuration = body["configuration"]
        kind = next((kind for kind in KINDS if kind in configuration), None)
        if kind is None:
            raise Refused(
                "notImplemented", f"local cloud: no {', '.join(configuration)} job, expected {', '.join(KINDS)}"
            )
        reference = {"projectId": project, "location": self._location(configuration[kind])}
        reference |= body.get("jobReference", {})
        location = reference["location"]
        resource = {
            "kind": "bigquery#job",
            "id": f"{project}:{location}.{reference['jobId']}",
            "jobReference": reference,
            "configuration": configuration | {"jobType": kind.upper()},
            "status": {"state": "RUNNING"},
            "statistics": {"creationTime": _now(), "startTime": _now()},
            "user_email": "nobody@local",
        }
        job = Job(resource, self._warehouse.cursor())
        if configuration.get("dryRun"):
            self._run(job, kind, upload)
            if "errorResult" in job.resource["status"]:
                error = job.resource["status"]["errorResult"]
                raise Refused(error["reason"], error["message"])
            return job
        with self._lock:
            if job.id in self._jobs or self._warehouse.find(job.cursor, "job", job.id):
                raise Refused("duplicate", f"Already Exists: Job {resource['id']}")
            self._jobs[job.id] = job
        job.done = self._threads.submit(self._run, job, kind, upload)
        return job

    def get(self, project: str, job_id: str, location: str | None = None) -> Job:
        """The job.

        Raises:
            Refused: there is none of this id in that location.
        """
        job = self._jobs.get(job_id)
        if job is None:
            cursor = self._warehouse.cursor()
            resource = self._warehouse.find(cursor, "job", job_id)
            job = Job(resource, cursor) if resource else None
        if job is None or (location and location.upper() != job.resource["jobReference"]["location"].upper()):
            raise not_found("Job", f"{project}:{location or ANYWHERE}.{job_id}")
        return job

    def every(self) -> list[Resource]:
        """The resources of all jobs, the latest first."""
        kept = {
            resource["jobReference"]["jobId"]: resource
            for resource in self._warehouse.every(self._warehouse.cursor(), "job")
        }
        every = kept | {job.id: job.resource for job in list(self._jobs.values())}
        return sorted(every.values(), key=lambda resource: resource["statistics"]["creationTime"], reverse=True)

    def cancel(self, job: Job) -> None:
        """Stop a job that is at work; nothing of what it wrote stays. One that still waits runs all the same."""
        if job.done and not job.done.done():
            job.cursor.interrupt()

    def await_end(self, job: Job, seconds: float) -> bool:
        """Whether the job ends within the time."""
        return job.done is None or bool(wait([job.done], timeout=seconds).done)

    def _location(self, settings: Resource) -> str:
        """Where a job runs that names no location: where its dataset lies."""
        table = settings.get("destinationTable") or {}
        dataset = table.get("datasetId") or (settings.get("defaultDataset") or {}).get("datasetId")
        found = self._warehouse.find(self._warehouse.cursor(), "dataset", dataset) if dataset else None
        if found is None and "query" in settings:
            return self._location_of_query(settings)
        return str(found["location"]) if found else ANYWHERE

    def _location_of_query(self, settings: Resource) -> str:
        cursor = self._warehouse.cursor()
        try:
            tables = list(sql.parsed(settings["query"]).find_all(exp.Table))
        except Refused:
            return ANYWHERE
        for table in tables:
            found = self._warehouse.find(cursor, "dataset", table.db) if table.db else None
            if found:
                return str(found["location"])
        return ANYWHERE

    def _run(self, job: Job, kind: str, upload: Path | None) -> None:
        status: Resource = {"state": "DONE"}
        try:
            settings = job.resource["configuration"][kind]
            match kind:
                case "load":
                    self._load(job, settings, upload)
                case "copy":
                    self._copy(job, settings)
                case _:
                    self._query(job, settings)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is the job's to say
            refused = _refused(job, error)
            status |= {"errorResult": refused.result(), "errors": [refused.result()]}
        finally:
            if upload:
                upload.unlink(missing_ok=True)
        statistics = job.resource["statistics"] | job.statistics | {"endTime": _now()}
        job.resource |= {"status": status, "statistics": statistics}
        if not job.resource["configuration"].get("dryRun"):
            self._warehouse.keep(self._warehouse.cursor(), "job", job.id, job.resource)
        log.info("%s job %s: %s", kind, job.id, status.get("errorResult", {}).get("message", "done"))

    def _load(self, job: Job, settings: Resource, upload: Path | None) -> None:
        table = TableId.of(settings["destinationTable"], job.resource["jobReference"]["projectId"])
        cursor = job.cursor
        dataset = self._check_location(job, table)
        with TemporaryDirectory(dir=self._folder) as folder:
            if upload:
                files = [upload]
            else:
                files, buckets = sources.download(settings["sourceUris"], Path(folder))
                for bucket in buckets:
                    _check_colocated(bucket, dataset["location"])
            found = self._warehouse.find(cursor, "table", f"{table.dataset}.{table.table}")
            replaces_schema = settings.get("writeDisposition") == TRUNCATE and not table.decorator
            known = found["schema"]["fields"] if found and not replaces_schema else []
            rows = sources.rows_of(cursor, files, settings, known)
            size = sum(file.stat().st_size for file in files)
            written = self._warehouse.write(cursor, table, rows, settings, default="WRITE_APPEND")
        job.statistics["load"] = {
            "inputFiles": str(len(files)),
            "inputFileBytes": str(size),
            "outputRows": str(written),
            "outputBytes": "0",
            "badRecords": "0",
        }

    def _copy(self, job: Job, settings: Resource) -> None:
        project = job.resource["jobReference"]["projectId"]
        cursor = job.cursor
        destination = TableId.of(settings["destinationTable"], project)
        self._check_location(job, destination)
        references = settings.get("sourceTables") or [settings["sourceTable"]]
        parts, fields, settings = [], [], dict(settings)
        for table in (TableId.of(reference, project) for reference in references):
            resource = self._warehouse.known_table(cursor, table)
            fields = resource["schema"]["fields"]
            columns = ", ".join(quoted(one["name"]) for one in fields)
            parts.append(f"SELECT {columns} FROM {table.sql}" + self._warehouse.where(table, resource))
            for key in ("timePartitioning", "clustering"):
                if resource.get(key):
                    settings.setdefault(key, resource[key])
        rows = Rows(" UNION ALL ".join(parts), fields)
        written = self._warehouse.write(cursor, destination, rows, settings, default=EMPTY)
        job.statistics["copy"] = {"copiedRows": str(written), "copiedLogicalBytes": "0"}

    def _query(self, job: Job, settings: Resource) -> None:
        if settings.get("useLegacySql"):
            raise Refused("notImplemented", "local cloud: no legacy SQL")
        project = job.resource["jobReference"]["projectId"]
        statement = sql.parsed(settings["query"])
        translation = sql.Translation(statement, self._warehouse, job.cursor, settings, project)
        about: dict[str, Any] = {"totalBytesProcessed": "0", "totalBytesBilled": "0", "cacheHit": False}
        job.statistics |= {"query": about, "totalBytesProcessed": "0"}
        if isinstance(statement, exp.Query):
            about["statementType"] = "SELECT"
            self._select(job, settings, translation, about)
        elif isinstance(statement, sql.CHANGES):
            about["statementType"] = statement.key.upper().replace("TRUNCATETABLE", "TRUNCATE_TABLE")
            self._change_rows(job, translation, about)
        else:
            about["statementType"] = f"{statement.key.upper()}_{statement.args.get('kind') or 'TABLE'}"
            self._define(job, translation, about)

    def _select(self, job: Job, settings: Resource, translation: sql.Translation, about: Resource) -> None:
        query, cursor = translation.sql(translation.statement), job.cursor
        self._check_locations(job, translation)
        fields = fields_of(cursor, query)
        about["schema"] = {"fields": fields}
        if job.resource["configuration"].get("dryRun"):
            return
        if settings.get("destinationTable"):
            table = TableId.of(settings["destinationTable"], translation.project)
            self._check_location(job, table)
            rows = Rows(query, fields, has_schema=False)
            self._warehouse.write(cursor, table, rows, settings, default=EMPTY)
            job.result = table.sql + self._warehouse.where(table, self._warehouse.known_table(cursor, table)), fields
        else:
            name = f"results.{quoted(job.id)}"
            cursor.execute(f"CREATE TABLE {name} AS {query}")
            job.result = name, fields
            self._drop_old_results(job)

    def _drop_old_results(self, job: Job) -> None:
        with self._lock:
            self._results.append(job)
            if len(self._results) > KEPT_RESULTS:
                old = self._results.pop(0)
                job.cursor.execute(f"DROP TABLE results.{quoted(old.id)}")
                old.result = None

    def _change_rows(self, job: Job, translation: sql.Translation, about: Resource) -> None:
        cursor, statement = job.cursor, translation.statement
        with self._warehouse.writing(cursor):
            query = translation.sql(statement)
            self._check_locations(job, translation)
            if job.resource["configuration"].get("dryRun"):
                return
            changed = cursor.execute(query).fetchone()
            self._warehouse.touch(cursor, translation.target())
        about["numDmlAffectedRows"] = str(changed[0] if changed else 0)

    def _define(self, job: Job, translation: sql.Translation, about: Resource) -> None:
        statement, cursor, warehouse = translation.statement, job.cursor, self._warehouse
        if job.resource["configuration"].get("dryRun"):
            return
        kind = statement.args.get("kind")
        with warehouse.writing(cursor):
            if kind == "SCHEMA":
                self._define_dataset(job, translation)
                return
            table = translation.target()
            about["ddlTargetTable"] = {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table}
            exists = warehouse.find(cursor, "table", f"{table.dataset}.{table.table}") is not None
            match statement:
                case exp.Create(args={"exists": True}) if exists:
                    about["ddlOperationPerformed"] = "SKIP"
                case exp.Create() if kind in {"TABLE", "VIEW"}:
                    if exists and statement.args.get("replace"):
                        warehouse.delete_table(cursor, table)
                    self._create(job, translation, table, is_view=kind == "VIEW")
                    about["ddlOperationPerformed"] = "REPLACE" if exists else "CREATE"
                case exp.Drop(args={"exists": True}) if not exists:
                    about["ddlOperationPerformed"] = "SKIP"
                case exp.Drop():
                    warehouse.delete_table(cursor, table)
                    about["ddlOperationPerformed"] = "DROP"
                case exp.Alter() if all(isinstance(action, exp.ColumnDef) for action in statement.args["actions"]):
                    self._add_columns(job, table, statement.args["actions"])
                case _:
                    raise Refused("invalidQuery", f"local cloud: not supported: {statement.sql('bigquery')[:80]}")

    def _add_columns(self, job: Job, table: TableId, columns: list[exp.ColumnDef]) -> None:
        fields = self._warehouse.known_table(job.cursor, table)["schema"]["fields"]
        known = {one["name"].lower() for one in fields}
        for column in columns:
            if column.name.lower() not in known:
                fields.append(sql.column_field(column))
            elif not column.args.get("exists"):
                raise Refused("invalidQuery", f"Column already exists: {column.name}")
        self._warehouse.patch_table(job.cursor, table, {"schema": {"fields": fields}})

    def _create(self, job: Job, translation: sql.Translation, table: TableId, *, is_view: bool) -> None:
        statement, cursor = translation.statement, job.cursor
        resource = sql.resource_of(statement)
        if is_view:
            view = {"query": statement.expression.sql("bigquery"), "useLegacySql": False}
            query = translation.sql(statement.expression)
            self._warehouse.create_table(cursor, table, resource | {"view": view}, view_sql=query)
            return
        if statement.expression:
            query = translation.sql(statement.expression)
            resource.setdefault("schema", {"fields": fields_of(cursor, query)})
            self._warehouse.create_table(cursor, table, resource)
            cursor.execute(f"INSERT INTO {table.sql} {query}")
        elif "schema" in resource:
            self._warehouse.create_table(cursor, table, resource)
        else:
            raise Refused("invalidQuery", f"local cloud: not supported: {statement.sql('bigquery')[:80]}")

    def _define_dataset(self, job: Job, translation: sql.Translation) -> None:
        statement, cursor, project = translation.statement, job.cursor, translation.project
        named = statement.find(exp.Table)
        name = named.db or named.name if named else ""
        exists = self._warehouse.find(cursor, "dataset", name) is not None
        if isinstance(statement, exp.Create):
            if not (exists and statement.args.get("exists")):
                resource = sql.resource_of(statement) | {"datasetReference": {"datasetId": name}}
                self._warehouse.create_dataset(cursor, project, resource)
        elif exists or not statement.args.get("exists"):
            with_tables = bool(statement.args.get("cascade"))
            self._warehouse.delete_dataset(cursor, project, name, with_tables=with_tables)

    def _check_location(self, job: Job, table: TableId) -> Resource:
        """The dataset, which has to be where the job runs."""
        location = job.resource["jobReference"]["location"]
        return self._warehouse.dataset(job.cursor, table.project, table.dataset, location)

    def _check_locations(self, job: Job, translation: sql.Translation) -> None:
        for table in translation.tables:
            self._check_location(job, table)


def _check_colocated(bucket: str, dataset: str) -> None:
    """BigQuery loads from a bucket in the dataset's location, or in a region of it; into US from anywhere."""
    bucket, dataset = bucket.upper(), dataset.upper()
    if dataset in {ANYWHERE, bucket} or (dataset == "EU" and bucket.startswith("EUROPE-")):
        return
    raise Refused("invalid", f"Cannot read and write in different locations: source: {bucket}, destination: {dataset}")


def _refused(job: Job, error: Exception) -> Refused:
    match error:
        case Refused():
            return error
        case duckdb.InterruptException():
            return Refused("stopped", "Job execution was cancelled: User requested cancellation")
        case duckdb.Error():
            reason = "invalidQuery" if "query" in job.resource["configuration"] else "invalid"
            return Refused(reason, str(error))
    log.error("job %s failed", job.id, exc_info=error)
    return Refused("invalid", f"local cloud: {type(error).__name__}: {error}")


def _now() -> str:
    return str(int(time.time() * 1000))
