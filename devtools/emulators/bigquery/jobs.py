"""Load and query jobs: each runs in a thread of its own, and is stored under its id when it ends."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from devtools.emulators.bigquery import sources, sql
from devtools.emulators.bigquery.errors import Refused, not_found, not_supported
from devtools.emulators.bigquery.fields import fields_of, quoted
from devtools.emulators.bigquery.tables import TRUNCATE, TableId
from devtools.emulators.bigquery.warehouse import ANYWHERE, now

if TYPE_CHECKING:
    from concurrent.futures import Future

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field
    from devtools.emulators.bigquery.tables import Resource
    from devtools.emulators.bigquery.warehouse import Warehouse

log = logging.getLogger(__name__)

KINDS = ("load", "query")
THREADS = 8
KEPT_RESULTS = 100  # results of queries; those of older queries are dropped


@dataclass
class Job:
    """A job that runs, or has run since the server started.

    Attributes:
        resource: as the REST interface shows it.
        cursor: runs it.
        done: ends when the job does, whether it succeeds or fails.
        result: the DuckDB name of a query's rows, and their fields.
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

    @property
    def project(self) -> str:
        """The project of the client."""
        return str(self.resource["jobReference"]["projectId"])

    @property
    def kind(self) -> str:
        """`load` or `query`."""
        return str(self.resource["configuration"]["jobType"]).lower()

    @property
    def settings(self) -> Resource:
        """Its configuration."""
        found: Resource = self.resource["configuration"][self.kind]
        return found


class Jobs:
    """All jobs of a warehouse.

    Args:
        warehouse: holds the tables.
        folder: holds downloaded and uploaded files while their job runs.
    """

    def __init__(self, warehouse: Warehouse, folder: Path) -> None:
        self._warehouse = warehouse
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._results: list[Job] = []
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="job")

    def close(self) -> None:
        """Interrupt running jobs."""
        for job in self._jobs.values():
            if job.done and not job.done.done():
                job.cursor.interrupt()
        self._threads.shutdown(cancel_futures=True)

    def insert(self, project: str, body: Resource, upload: Path | None = None) -> Job:
        """Start a job.

        Args:
            project: of the client.
            body: its configuration and reference.
            upload: the file of a load job that brings its own; deleted when the job ends.
        """
        job = self._job(project, body)
        with self._lock:
            if job.id in self._jobs or self._warehouse.find(job.cursor, "job", job.id):
                raise Refused("duplicate", f"Already Exists: Job {job.resource['id']}")
            self._jobs[job.id] = job
        job.done = self._threads.submit(self._run, job, upload)
        return job

    def get(self, project: str, job_id: str, location: str | None = None) -> Job:
        """Return the job.

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
        """Return the resources of all jobs, latest first."""
        kept = {
            resource["jobReference"]["jobId"]: resource
            for resource in self._warehouse.every(self._warehouse.cursor(), "job")
        }
        every = kept | {job.id: job.resource for job in list(self._jobs.values())}
        return sorted(every.values(), key=lambda resource: resource["statistics"]["creationTime"], reverse=True)

    def await_end(self, job: Job, seconds: float) -> bool:
        """Wait for the job to end, and return whether it did within the time."""
        return job.done is None or bool(wait([job.done], timeout=seconds).done)

    def _job(self, project: str, body: Resource) -> Job:
        configuration = body["configuration"]
        kind = next((kind for kind in KINDS if kind in configuration), None)
        if kind is None:
            raise not_supported(f"a job of kind {', '.join(configuration)} is not one of {', '.join(KINDS)}")
        if configuration.get("dryRun"):
            raise not_supported("no dry runs")
        reference = {"projectId": project, "location": self._location(configuration[kind])}
        reference |= body.get("jobReference", {})
        resource = {
            "kind": "bigquery#job",
            "id": f"{project}:{reference['location']}.{reference['jobId']}",
            "jobReference": reference,
            "configuration": configuration | {"jobType": kind.upper()},
            "status": {"state": "RUNNING"},
            "statistics": {"creationTime": now(), "startTime": now()},
            "user_email": "nobody@local",
        }
        return Job(resource, self._warehouse.cursor())

    def _location(self, settings: Resource) -> str:
        """Return the location of a job that names none: that of its dataset."""
        cursor = self._warehouse.cursor()
        for name in _datasets_of(settings):
            found = self._warehouse.find(cursor, "dataset", name)
            if found:
                return str(found["location"])
        return ANYWHERE

    def _run(self, job: Job, upload: Path | None) -> None:
        status: Resource = {"state": "DONE"}
        try:
            if job.kind == "load":
                self._load(job, upload)
            else:
                self._query(job)
        except Exception as error:  # noqa: BLE001 - the job reports whatever goes wrong
            refused = _refused(job, error)
            status |= {"errorResult": refused.result(), "errors": [refused.result()]}
        finally:
            if upload:
                upload.unlink(missing_ok=True)
        statistics = job.resource["statistics"] | job.statistics | {"endTime": now()}
        job.resource |= {"status": status, "statistics": statistics}
        self._warehouse.keep(self._warehouse.cursor(), "job", job.id, job.resource)
        log.info("%s job %s: %s", job.kind, job.id, status.get("errorResult", {}).get("message", "done"))

    def _load(self, job: Job, upload: Path | None) -> None:
        settings, cursor = job.settings, job.cursor
        table = TableId.of(settings["destinationTable"], job.project)
        dataset = self._check_location(job, table)
        with TemporaryDirectory(dir=self._folder) as folder:
            files = [upload] if upload else _downloaded(settings, Path(folder), dataset)
            found = self._warehouse.find(cursor, "table", table.key)
            replaces_schema = settings.get("writeDisposition") == TRUNCATE and not table.decorator
            known = found["schema"]["fields"] if found and not replaces_schema else []
            rows = sources.rows_of(cursor, files, settings, known)
            size = sum(file.stat().st_size for file in files)
            written = self._warehouse.write(cursor, table, rows, settings)
        job.statistics["load"] = {
            "inputFiles": str(len(files)),
            "inputFileBytes": str(size),
            "outputRows": str(written),
            "outputBytes": "0",
            "badRecords": "0",
        }

    def _query(self, job: Job) -> None:
        settings = job.settings
        if settings.get("useLegacySql"):
            raise not_supported("no legacy SQL")
        if settings.get("destinationTable"):
            raise not_supported("no destination table for a query")
        statement = sql.parsed(settings["query"])
        parameters = settings.get("queryParameters") or []
        default = settings.get("defaultDataset")
        translation = sql.Translation(statement, self._warehouse, job.cursor, job.project, parameters, default=default)
        about: dict[str, Any] = {"totalBytesProcessed": "0", "totalBytesBilled": "0", "cacheHit": False}
        job.statistics |= {"query": about, "totalBytesProcessed": "0"}
        if isinstance(statement, exp.Query):
            about["statementType"] = "SELECT"
            self._select(job, translation, about)
        else:
            about["statementType"] = statement.key.upper()
            self._change_rows(job, translation, about)

    def _select(self, job: Job, translation: sql.Translation, about: Resource) -> None:
        query, name = translation.sql(), f"results.{quoted(job.id)}"
        self._check_locations(job, translation)
        fields = fields_of(job.cursor, query)
        about["schema"] = {"fields": fields}
        job.cursor.execute(f"CREATE TABLE {name} AS {query}")
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
        with self._warehouse.writing(job.cursor):
            query = translation.sql()
            self._check_locations(job, translation)
            changed = job.cursor.execute(query).fetchone()
            self._warehouse.touch(job.cursor, translation.target())
        about["numDmlAffectedRows"] = str(changed[0] if changed else 0)

    def _check_location(self, job: Job, table: TableId) -> Resource:
        """Return the dataset of the table; refuse one that is not in the job's location."""
        location = job.resource["jobReference"]["location"]
        return self._warehouse.dataset(job.cursor, table.project, table.dataset, location)

    def _check_locations(self, job: Job, translation: sql.Translation) -> None:
        for table in translation.tables:
            self._check_location(job, table)


def _datasets_of(settings: Resource) -> list[str]:
    """Return the datasets that a job names."""
    if "destinationTable" in settings:
        return [settings["destinationTable"]["datasetId"]]
    default = (settings.get("defaultDataset") or {}).get("datasetId")
    try:
        named = [table.db or default for table in sql.parsed(settings["query"]).find_all(exp.Table)]
    except Refused:
        return []
    return [dataset for dataset in named if dataset]


def _downloaded(settings: Resource, folder: Path, dataset: Resource) -> list[Path]:
    files, buckets = sources.download(settings["sourceUris"], folder)
    for bucket in buckets:
        _check_colocated(bucket, dataset["location"])
    return files


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
            return Refused("invalidQuery" if job.kind == "query" else "invalid", str(error))
    log.error("job %s failed", job.id, exc_info=error)
    return Refused("invalid", f"local cloud: {type(error).__name__}: {error}")
