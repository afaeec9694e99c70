"""A web server on this machine that behaves as badly as servers do, for the tests of downloads."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from lile.data.download import download

BODY = np.random.default_rng(0).bytes(700_001)
DIGEST = hashlib.sha256(BODY).hexdigest()
OTHER = np.random.default_rng(1).bytes(700_001)


class Site:
    """What the server does; a test sets it and reads what was asked."""

    def __init__(self) -> None:
        self.body = BODY
        self.etag: str | None = '"v1"'
        self.modified: str | None = None
        self.ranges = True
        self.if_range = True
        self.length = True
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.statuses: list[int] = []  # the next answers; 200 then
        self.headers: dict[str, str] = {}
        self.content_type = "application/zip"
        self.pause_s = 0.0  # after each 100,000 bytes
        self.hang_s = 0.0  # before the first
        self.shift = 0  # by how much a 206 starts elsewhere than asked
        self.asked: list[dict[str, str]] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(dict(handler.headers))
        time.sleep(self.hang_s)
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            handler.send_response(status)
            for name, value in self.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = self.start(handler)
        if start is not None and start >= len(self.body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.body)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        self.send(handler, start)

    def start(self, handler: BaseHTTPRequestHandler) -> int | None:
        asked = handler.headers.get("Range")
        if not (asked and self.ranges):
            return None
        if self.if_range and handler.headers.get("If-Range") not in (self.etag, self.modified):
            return None
        return int(asked.removeprefix("bytes=").rstrip("-")) + self.shift

    def send(self, handler: BaseHTTPRequestHandler, start: int | None) -> None:
        body = self.body[start or 0 :]
        handler.send_response(200 if start is None else 206)
        if start is not None:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        handler.send_header("Content-Type", self.content_type)
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified)):
            if value:
                handler.send_header(name, value)
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.cuts:
            body = body[: self.cuts.pop(0)]
        for place in range(0, len(body), 100_000):
            handler.wfile.write(body[place : place + 100_000])
            time.sleep(self.pause_s)
        handler.close_connection = True


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """Serve on a free port of this machine while the block runs."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                site.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/arch/books_set.zip"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Target:
    """The files of one download, and a call with the tests' short pauses."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.site = site
        self.path = folder / "arch" / "books_set.zip"
        self.part = folder / "arch" / "books_set.zip.part"
        self.about = folder / "arch" / "books_set.zip.part.json"
        self.record = folder / "arch" / "books_set.zip.first.json"

    def get(self, size: int | None = None, sha256: str | None = None, **options: object) -> dict:
        options = {"attempts": 3, "pause_s": 0.01, "timeout_s": 5.0, "url": self.site.url} | options
        return download(path=self.path, size=size, sha256=sha256, record=self.record, **options)

    def is_clean(self) -> bool:
        return not (self.path.exists() or self.part.exists() or self.about.exists() or self.record.exists())
