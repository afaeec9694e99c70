"""Which MLflow a run goes to, and how to open it so that a server that is down costs seconds, not minutes."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

# Left alone where the user has set them. With MLflow's own values a dead server stalls every call for minutes.
_GENTLE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_PROBE_SECONDS = 5


@dataclass(frozen=True)
class Store:
    """An open MLflow: its client, its address as a person may read it (no password), and our experiment's id."""

    client: MlflowClient
    uri: str
    experiment_id: str


def choose_uri(configured: str | None, results: Path) -> str:
    """Return the tracking address: the config's, else ``MLFLOW_TRACKING_URI``, else a database under ``results``."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or local_uri(results)


def local_uri(results: Path) -> str:
    """Return the address of the project's own database, ``results/mlflow/mlflow.db``, absolute."""
    return f"sqlite:///{_local_database(results)}"


def is_server(uri: str) -> bool:
    """Whether the address is some other machine's affair, so that its failing must not cost a run."""
    return not uri.startswith(("sqlite:", "file:")) and ("://" in uri or uri.startswith("databricks"))


def redacted(uri: str) -> str:
    """Return the address without its user name and password: it is written into files and logs."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def settings() -> Iterator[None]:
    """Set MLflow's environment for the block: no telemetry, few retries; what was there before comes back."""
    wanted = {name: value for name, value in _GENTLE.items() if name not in os.environ}
    # The printed addresses would show a password that the address holds.
    wanted |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def open_store(uri: str, results: Path, dataset: str) -> Iterator[Store]:
    """Open the MLflow at ``uri`` and its experiment ``lile/{dataset}``, both made where missing.

    Args:
        uri: any MLflow tracking address.
        results: the results folder; holds the project's own database and the artifacts of every local database.
        dataset: names the experiment.

    Yields:
        The open store. The project's own database is locked meanwhile: one writer at a time.

    Raises:
        ConnectionError: an http(s) server does not answer.
        Exception: whatever MLflow raises on an address it cannot use.
    """
    from mlflow import MlflowClient

    if uri.startswith(("http://", "https://")):
        _probe(uri)
    if uri == local_uri(results):
        with _locked(_local_database(results)) as database:
            _create_database(database)
            client = MlflowClient(tracking_uri=uri)
            yield Store(client, uri, _experiment(client, uri, results, dataset))
    else:
        client = MlflowClient(tracking_uri=uri)
        yield Store(client, redacted(uri), _experiment(client, uri, results, dataset))


def _local_database(results: Path) -> Path:
    return results.resolve() / "mlflow" / "mlflow.db"


def _probe(uri: str) -> None:
    """Raise ``ConnectionError`` unless something answers, whatever it says: 401 and 404 are answers."""
    import requests

    try:
        requests.get(uri, timeout=_PROBE_SECONDS, stream=True, allow_redirects=False).close()
    except requests.RequestException as error:
        raise ConnectionError(f"no answer from {redacted(uri)} ({type(error).__name__})") from None


@contextmanager
def _locked(database: Path) -> Iterator[Path]:
    """Hold the database for this process. MLflow's first migration breaks the file when two processes run it."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_suffix(".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            # Some network file systems know no locks; the workflow's `tracker` limit of one still holds.
            log.debug("no lock for %s", database, exc_info=True)
        yield database


def _create_database(database: Path) -> None:
    """Make an empty database under a temporary name and rename it: a kill half-way through leaves nothing broken."""
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    if database.exists():
        return
    part = database.with_name(f".{database.name}.part")
    part.unlink(missing_ok=True)
    MlflowClient(tracking_uri=f"sqlite:///{part}").search_experiments(max_results=1)
    os.replace(part, database)


def _experiment(client: MlflowClient, uri: str, results: Path, dataset: str) -> str:
    """Return the id of ``lile/{dataset}``. Made by name and explicitly: `set_experiment` may land in Default."""
    name = f"lile/{dataset}"
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server knows where its artifacts go; a bare database would drop them into the working folder.
        folder = None if is_server(uri) else (results.resolve() / "mlflow" / "artifacts").as_uri()
        return client.create_experiment(name, artifact_location=folder)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id
