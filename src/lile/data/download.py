"""One large file from the web: streamed, resumed where it broke off, and checked before it gets its name.

While it comes in, the file is ``<name>.part``, with ``<name>.part.json`` beside it: which version of the remote file
these bytes belong to. A changed remote file is never glued to an old beginning. Where the config knows no checksum,
the one of the first download is recorded and every later download must have it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lile.errors import InputError
from lile.files import sha256_of, write_json

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16
LONGEST_PAUSE_S = 120.0
WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that pass by themselves; every other error status stays."""


class _TryAgainError(Exception):
    """The transfer broke in a way that the next attempt may not."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        """What the server asks for, if it does."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is known of the file beforehand, and from where (for messages)."""

    size: int | None
    sha256: str | None
    source: str


@dataclass(frozen=True, kw_only=True)
class _Transfer:
    """One download and the two files that hold its progress."""

    url: str
    path: Path
    expected: Expected
    timeout_s: float
    by_hand: str

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    @property
    def about(self) -> Path:
        return self.path.with_name(self.path.name + ".part.json")

    def done_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)


def download(
    url: str,
    path: Path,
    *,
    size: int | None,
    sha256: str | None,
    record: Path,
    attempts: int = 6,
    pause_s: float = 2.0,
    timeout_s: float = 60.0,
    by_hand: str | None = None,
) -> dict[str, Any]:
    """Bring ``url`` to ``path``, or make sure that the file which is there already is the right one.

    Args:
        url: http or https.
        path: the file. Its folder is made where missing.
        size: expected bytes; None takes the recorded size, or any.
        sha256: expected hex digest; None takes the recorded digest, or any.
        record: JSON file beside the archive that keeps url, size and digest of the first download.
        attempts: how many attempts in a row may bring nothing new.
        pause_s: seconds before the second attempt, doubled each time.
        timeout_s: seconds without a byte after which an attempt is over.
        by_hand: what a person does with a file fetched by other means, for error messages; None: "put it at <path>".

    Returns:
        ``{"url", "size", "sha256"}``, as recorded.

    Raises:
        InputError: the site refuses or lacks the file, the disk is full, the transfer breaks off too often, or size or
            digest are not the expected ones (the bytes are then deleted; a file found under ``path`` is left alone).
        OSError: the folder cannot be written.
    """
    _check_arguments(url, size, sha256, attempts)
    expected = expected_of(size, sha256, record)
    by_hand = by_hand or f"put it at {path}"
    transfer = _Transfer(url=url, path=path, expected=expected, timeout_s=timeout_s, by_hand=by_hand)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        log.info("%s is there: checking it", path)
        found = _verified(path, expected, f"delete it to download {url} again")
    else:
        _fetch(transfer, attempts, pause_s)
        try:
            found = _verified(transfer.part, expected, _what_to_do(transfer, record))
        except InputError:
            transfer.forget()
            raise
        _put_in_place(transfer)
    facts = {"url": url, "size": found.size, "sha256": found.sha256}
    if not record.exists() or json.loads(record.read_text(encoding="utf-8")) != facts:
        write_json(record, facts)
        log.info("recorded size and sha256 of %s in %s", path.name, record)
    return facts


def _check_arguments(url: str, size: int | None, sha256: str | None, attempts: int) -> None:
    if not re.match(r"https?://[^/]", url):
        raise InputError(f"download url: {url!r} is not an http or https address")
    if size is not None and size <= 0:
        raise InputError(f"download of {url}: size {size} must be a positive number of bytes, or null")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(f"download of {url}: sha256 {sha256!r} must be 64 hexadecimal digits, or null")
    if attempts < 1:
        raise InputError(f"download of {url}: attempts {attempts} must be 1 or more")


def expected_of(size: int | None, sha256: str | None, record: Path) -> Expected:
    """Return the config's word, and the record's where the config is silent on the digest.

    Args:
        size: in bytes, of the config; None where it says nothing.
        sha256: of the config; None where it says nothing.
        record: of the first download; it may not be there.

    Raises:
        InputError: the record cannot be read, or says another size than the config.
    """
    if sha256 is not None or not record.exists():
        return Expected(size=size, sha256=sha256.lower() if sha256 else None, source="the config")
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        known = Expected(size=int(facts["size"]), sha256=str(facts["sha256"]), source=str(record))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record}: not a record of a download ({error}); delete it") from error
    if size not in (None, known.size):
        raise InputError(f"{record}: records {known.size} bytes, the config says {size}; mend one or delete the record")
    return known


def _verified(path: Path, expected: Expected, advice: str) -> Expected:
    size = path.stat().st_size
    if expected.size not in (None, size):
        raise InputError(f"{path}: {size} bytes, expected {expected.size} ({expected.source}); {advice}")
    digest = sha256_of(path)
    if expected.sha256 not in (None, digest):
        raise InputError(f"{path}: sha256 {digest}, expected {expected.sha256} ({expected.source}); {advice}")
    return Expected(size=size, sha256=digest, source=str(path))


def _what_to_do(transfer: _Transfer, record: Path) -> str:
    if transfer.expected.source == str(record):
        return (
            f"the bytes were deleted. Run again; if the publisher has really changed {transfer.url}, delete {record} "
            "to accept the new file"
        )
    return f"the bytes were deleted. Run again; if it stays, correct size and sha256 of {transfer.url} in the config"


def _put_in_place(transfer: _Transfer) -> None:
    with transfer.part.open("rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(transfer.part, transfer.path)
    transfer.about.unlink(missing_ok=True)


def _fetch(transfer: _Transfer, attempts: int, pause_s: float) -> None:
    """Attempt until the part is whole; only attempts in a row that bring nothing new are counted."""
    import requests

    idle, best = 0, transfer.done_bytes()
    with requests.Session() as session:
        while True:
            try:
                return _attempt(transfer, session)
            except _TryAgainError as error:
                done = transfer.done_bytes()
                idle = 0 if done > best else idle + 1
                best = max(best, done)
                if idle >= attempts:
                    raise InputError(
                        f"{transfer.url}: gave up after {idle} attempts without progress at {done} bytes ({error}). "
                        f"What came is kept: run again. Or get the file by other means and {transfer.by_hand}"
                    ) from error
                pause = error.pause_s or pause_s * 2 ** max(idle - 1, 0)
                pause = min(pause, LONGEST_PAUSE_S)
                log.warning("%s: %s; trying again in %g s from byte %d", transfer.url, error, pause, done)
                time.sleep(pause)


def _attempt(transfer: _Transfer, session: requests.Session) -> None:
    from requests import exceptions as wrong

    version = _version_of_part(transfer)
    offset = transfer.done_bytes() if version else 0
    if version and offset and offset == version["total"]:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "lile"}
    if version and offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version["validator"]}
    try:
        with session.get(transfer.url, stream=True, timeout=transfer.timeout_s, headers=headers) as response:
            _receive(transfer, response, offset, version)
    except wrong.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise _TryAgainError(f"secure connection failed ({error})") from error
        raise InputError(
            f"{transfer.url}: the site's certificate cannot be verified ({error}). Check this machine's clock and "
            "certificates (behind a company proxy: REQUESTS_CA_BUNDLE=<its certificate file>)"
        ) from error
    except (wrong.ConnectionError, wrong.Timeout, wrong.ChunkedEncodingError, wrong.ContentDecodingError) as error:
        raise _TryAgainError(f"connection failed or broke ({type(error).__name__}: {error})") from error
    except wrong.RequestException as error:
        raise InputError(f"{transfer.url}: cannot be requested ({type(error).__name__}: {error})") from error


def _version_of_part(transfer: _Transfer) -> dict[str, Any] | None:
    """Return what the part was cut from: ``validator`` and ``total``; None where it may not be continued."""
    try:
        about = json.loads(transfer.about.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(about, dict) and about.get("url") == transfer.url and about.get("validator")
    return about if same else None


def _receive(transfer: _Transfer, response: requests.Response, offset: int, version: dict[str, Any] | None) -> None:
    _check_status(transfer, response)
    total = _total_bytes(response, offset)
    if response.status_code == 416 or (response.status_code == 206 and not _continues(response, offset, version)):
        transfer.forget()
        raise _TryAgainError("the remote file is not the one that the first part came from; starting over")
    if response.status_code != 206:
        offset = 0
    _check_answer(transfer, response, total, offset)
    if not offset:
        transfer.part.unlink(missing_ok=True)
        write_json(transfer.about, {"url": transfer.url, "validator": _validator(response), "total": total})
    whole = transfer.expected.size if total is None else total
    _write_body(transfer, response, offset, whole)
    done = transfer.done_bytes()
    if whole is not None and done > whole:
        transfer.forget()
        raise _TryAgainError(f"more bytes came than the {whole} expected; starting over")
    if whole is not None and done < whole:
        raise _TryAgainError(f"broke off at {done} of {whole} bytes")


def _check_status(transfer: _Transfer, response: requests.Response) -> None:
    status = response.status_code
    if status in (200, 206) or (status == 416 and "Range" in response.request.headers):
        return
    told = f"{transfer.url}: the site answers {status} {response.reason}"
    if status in WORTH_RETRYING:
        asked = response.headers.get("Retry-After", "")
        raise _TryAgainError(told, float(asked) if asked.isdigit() else None)
    raise InputError(
        f"{told}. Check the address in the config; if the publisher moved the file or wants a login, get it with a "
        f"browser and {transfer.by_hand}"
    )


def _check_answer(transfer: _Transfer, response: requests.Response, total: int | None, offset: int) -> None:
    """Refuse before the first byte what the headers already show to be wrong."""
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/html") and transfer.path.suffix not in (".html", ".htm"):
        raise InputError(
            f"{transfer.url}: a web page came instead of a file (a login or a notice?). Open it in a browser, get the "
            f"file there and {transfer.by_hand}"
        )
    if total == 0:
        raise InputError(f"{transfer.url}: the remote file is empty; check the address, or ask the publisher")
    expected = transfer.expected
    if total is not None and expected.size not in (None, total):
        raise InputError(
            f"{transfer.url}: the remote file has {total} bytes, expected {expected.size} ({expected.source}); correct "
            "that, or the address"
        )
    free = shutil.disk_usage(transfer.path.parent).free
    if total is not None and total - offset > free:
        raise InputError(
            f"{transfer.path.parent}: {free} bytes free, {total - offset} more needed for {transfer.url}; make room"
        )


def _continues(response: requests.Response, offset: int, version: dict[str, Any] | None) -> bool:
    """Tell whether a 206 goes on where the part ends, in the same version of the file."""
    told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    if version is None or told is None or int(told[1]) != offset or int(told[2]) + 1 != int(told[3]):
        return False
    validator = _validator(response)
    return int(told[3]) == version["total"] and validator in (None, version["validator"])


def _validator(response: requests.Response) -> str | None:
    """Return what names a version: a strong ETag, else the date of the last change (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _total_bytes(response: requests.Response, offset: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    if not length.isdigit() or response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    return int(length) + (offset if response.status_code == 206 else 0)


def _write_body(transfer: _Transfer, response: requests.Response, offset: int, whole: int | None) -> None:
    from tqdm import tqdm

    with (
        transfer.part.open("ab") as handle,
        tqdm(total=whole, initial=offset, unit="B", unit_scale=True, desc=transfer.path.name, disable=None) as bar,
    ):
        for chunk in response.iter_content(CHUNK_BYTES):
            try:
                handle.write(chunk)
                handle.flush()
            except OSError as error:
                raise _disk_error(transfer, error) from error
            bar.update(len(chunk))
            if whole is not None and bar.n > whole:
                return


def _disk_error(transfer: _Transfer, error: OSError) -> Exception:
    """Return an error that is no network error: requests' own are OSErrors, too."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(
            f"{transfer.part}: no room left on the disk ({error.strerror}) after {transfer.done_bytes()} bytes. What "
            "came is kept: make room and run again"
        )
    return error
