"""Downloads against a real server on this machine that behaves as badly as servers do."""

from __future__ import annotations

import hashlib
import json
import logging
import ssl
import subprocess
import sys
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bad_server import BODY, DIGEST, OTHER, Site, Target

from lile.data import download as module
from lile.errors import InputError


def test_downloads_and_records(site: Site, target: Target):
    facts = target.get()
    assert target.path.read_bytes() == BODY
    assert facts == {"url": site.url, "size": len(BODY), "sha256": DIGEST} == json.loads(target.record.read_text())
    assert sorted(path.name for path in target.path.parent.iterdir()) == ["books_set.zip", "books_set.zip.first.json"]
    assert len(site.asked) == 1


def test_a_file_that_is_there_is_checked_without_the_site(site: Site, target: Target):
    target.get(len(BODY), DIGEST.upper())
    assert target.get(len(BODY), DIGEST) == target.get()
    assert len(site.asked) == 1
    target.path.write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"7 bytes, expected 700001 .*first\.json.*delete it"):
        target.get()
    assert target.path.read_bytes() == b"damaged"
    with pytest.raises(InputError, match=f"expected {DIGEST} .the config"):
        target.get(sha256=DIGEST)


def test_a_users_own_file_is_taken(site: Site, target: Target):
    target.path.parent.mkdir()
    target.path.write_bytes(BODY)
    assert target.get()["sha256"] == DIGEST
    assert site.asked == []


def test_cut_off_in_the_middle_goes_on_there(site: Site, target: Target):
    site.cuts = [300_000, 150_000]
    assert target.get(len(BODY), DIGEST)["sha256"] == DIGEST
    assert len(site.asked) == 3
    assert "Range" not in site.asked[0]
    second, third = (int(ask["Range"].removeprefix("bytes=")[:-1]) for ask in site.asked[1:])
    assert 0 < second <= 300_000 < third + 20_000
    assert site.asked[1]["If-Range"] == '"v1"'


def test_a_killed_run_is_resumed_by_the_next(site: Site, target: Target):
    site.cuts = [300_000, 0, 0, 0]
    with pytest.raises(InputError, match=r"gave up after 3 attempts.*What came is kept"):
        target.get()
    assert 0 < target.part.stat().st_size <= 300_000
    assert not target.path.exists()
    kept = target.part.stat().st_size
    target.get()
    assert target.path.read_bytes() == BODY
    assert site.asked[-1]["Range"] == f"bytes={kept}-"


def test_progress_renews_the_attempts(site: Site, target: Target):
    site.cuts = [100_000] * 6
    target.get(attempts=1)
    assert target.path.read_bytes() == BODY


def test_last_modified_serves_where_there_is_no_strong_etag(site: Site, target: Target):
    site.etag, site.modified, site.cuts = 'W/"weak"', "Tue, 01 Jun 2021 10:00:00 GMT", [200_000]
    target.get()
    assert target.path.read_bytes() == BODY
    assert site.asked[1]["If-Range"] == "Tue, 01 Jun 2021 10:00:00 GMT"


@pytest.mark.parametrize("obeys", [True, False], ids=["If-Range obeyed", "If-Range ignored"])
def test_a_changed_file_is_not_glued(site: Site, target: Target, obeys: bool):
    site.cuts = [300_000, 0, 0, 0]
    with pytest.raises(InputError):
        target.get()
    site.body, site.etag, site.if_range = OTHER, '"v2"', obeys
    target.get()
    assert target.path.read_bytes() == OTHER


def test_a_changed_file_of_another_size_is_not_glued(site: Site, target: Target):
    site.cuts = [300_000, 0, 0, 0]
    with pytest.raises(InputError):
        target.get()
    site.body, site.if_range = OTHER[:400_000], False
    target.get()
    assert target.path.read_bytes() == OTHER[:400_000]


def test_a_range_that_starts_elsewhere_is_not_glued(site: Site, target: Target):
    site.cuts, site.shift = [300_000, 0] * 10, 10
    with pytest.raises(InputError, match="gave up"):  # over and over: whole, cut off, wrong range
        target.get()
    site.shift = 0
    target.get()
    assert target.path.read_bytes() == BODY


def test_without_ranges_it_starts_over(site: Site, target: Target):
    site.ranges, site.cuts = False, [300_000]
    target.get()
    assert target.path.read_bytes() == BODY
    assert len(site.asked) == 2


def test_without_a_version_it_starts_over(site: Site, target: Target):
    site.etag, site.cuts = None, [300_000]
    target.get()
    assert target.path.read_bytes() == BODY
    assert "Range" not in site.asked[1]


def test_part_of_another_url_is_not_used(site: Site, target: Target):
    target.path.parent.mkdir()
    target.part.write_bytes(b"x" * 1000)
    target.about.write_text(json.dumps({"url": "http://other", "validator": '"v1"', "total": len(BODY)}))
    target.get()
    assert target.path.read_bytes() == BODY
    target.path.unlink()
    target.part.write_bytes(b"x" * 1000)
    target.about.write_text("{torn")
    target.get()
    assert "Range" not in site.asked[1]


def test_part_that_is_already_whole(site: Site, target: Target):
    target.path.parent.mkdir()
    target.part.write_bytes(BODY)
    target.about.write_text(json.dumps({"url": site.url, "validator": '"v1"', "total": len(BODY)}))
    assert target.get()["sha256"] == DIGEST
    assert site.asked == []


def test_416_starts_over(site: Site, target: Target):
    target.path.parent.mkdir()
    target.part.write_bytes(b"x" * 800_000)
    target.about.write_text(json.dumps({"url": site.url, "validator": '"v1"', "total": 900_000}))
    target.get()
    assert target.path.read_bytes() == BODY
    assert [ask.get("Range") for ask in site.asked] == ["bytes=800000-", None]


def test_without_length(site: Site, target: Target):
    site.length = False
    target.get()
    assert target.path.read_bytes() == BODY
    target.path.unlink()
    site.cuts = [300_000]  # unnoticed, were the size not known
    target.get(len(BODY), DIGEST)
    assert target.path.read_bytes() == BODY


def test_slow_is_waited_for(site: Site, target: Target):
    site.pause_s = 0.1
    target.get(timeout_s=2.0)
    assert target.path.read_bytes() == BODY


def test_one_that_stalls_again_and_again_is_resumed(site: Site, target: Target):
    site.pause_s = 0.8
    target.get(timeout_s=0.3, attempts=1)
    assert target.path.read_bytes() == BODY
    assert len(site.asked) > 5


def test_one_that_never_answers_is_given_up(site: Site, target: Target):
    site.hang_s = 1.0
    with pytest.raises(InputError, match="gave up after 2 attempts"):
        target.get(timeout_s=0.3, attempts=2)
    assert target.is_clean()


@pytest.mark.parametrize("status", [404, 403, 401, 410, 400])
def test_refusals_are_not_repeated(site: Site, target: Target, status: int):
    site.statuses = [status]
    with pytest.raises(InputError, match=rf"{status} .*browser and put it at .*books_set\.zip"):
        target.get()
    assert len(site.asked) == 1
    assert target.is_clean()


def test_passing_trouble_is_waited_for(site: Site, target: Target, caplog: pytest.LogCaptureFixture):
    site.statuses, site.headers = [503, 429], {"Retry-After": "1"}
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        target.get()
    assert time.monotonic() - started > 1.9
    assert "503" in caplog.text
    assert target.path.read_bytes() == BODY


def test_lasting_trouble_is_given_up(site: Site, target: Target):
    site.statuses = [500] * 9
    with pytest.raises(InputError, match=r"gave up after 3 .*500.*do this"):
        target.get(by_hand="do this")
    assert len(site.asked) == 3
    assert target.is_clean()


def test_nobody_listens(target: Target):
    with pytest.raises(InputError, match="gave up after 2 attempts"):
        target.get(url="http://127.0.0.1:9/x.zip", attempts=2)
    assert target.is_clean()


def test_wrong_checksum_is_deleted(site: Site, target: Target):
    site.body = OTHER
    with pytest.raises(InputError, match=f"sha256 .*expected {DIGEST} .the config.*correct size and sha256"):
        target.get(len(BODY), DIGEST)
    assert target.is_clean()


def test_wrong_size_is_seen_before_the_first_byte(site: Site, target: Target):
    with pytest.raises(InputError, match=r"has 700001 bytes, expected 5 .the config"):
        target.get(5)
    assert target.is_clean()


def test_recorded_digest_is_checked_at_every_later_download(site: Site, target: Target):
    target.get()
    target.path.unlink()
    site.body = OTHER
    with pytest.raises(InputError, match=r"sha256 .*expected .*first\.json.*delete .*first\.json to accept"):
        target.get()
    assert not target.path.exists()
    assert json.loads(target.record.read_text())["sha256"] == DIGEST
    target.record.unlink()
    assert target.get()["sha256"] == hashlib.sha256(OTHER).hexdigest()


def test_the_configs_digest_goes_before_the_record(site: Site, target: Target):
    target.get()
    target.path.unlink()
    site.body = OTHER
    digest = hashlib.sha256(OTHER).hexdigest()
    target.get(sha256=digest)
    assert json.loads(target.record.read_text())["sha256"] == digest


def test_record_at_odds(site: Site, target: Target):
    target.get()
    with pytest.raises(InputError, match="records 700001 bytes, the config says 5"):
        target.get(5)
    target.record.write_text("[]")
    with pytest.raises(InputError, match="not a record"):
        target.get()


def test_a_web_page_is_no_archive(site: Site, target: Target):
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(InputError, match="a web page came"):
        target.get()
    assert target.is_clean()


def test_empty_remote_file(site: Site, target: Target):
    site.body = b""
    with pytest.raises(InputError, match="empty"):
        target.get()
    assert target.is_clean()


def test_no_room_is_seen_first(site: Site, target: Target, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10, 5, 5))
    with pytest.raises(InputError, match="5 bytes free, 700001 more needed"):
        target.get()
    assert target.is_clean()


def test_a_disk_that_fills_up_keeps_what_came(site: Site, target: Target):
    """A real limit on the file size, in a process of its own; the kernel then refuses to write."""
    code = (
        "import resource, signal, sys, json; from pathlib import Path\n"
        "from lile.data.download import download; from lile.errors import InputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "path = Path(sys.argv[2])\n"
        "try: download(sys.argv[1], path, size=None, sha256=None, record=path.with_suffix('.json'))\n"
        "except InputError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, site.url, str(target.path)], capture_output=True, text=True, check=True
    )
    assert "no room left on the disk" in done.stdout, done.stderr
    assert target.part.stat().st_size == 300_000
    assert not target.path.exists()
    target.get()
    assert target.path.read_bytes() == BODY
    assert site.asked[-1]["Range"] == "bytes=300000-"


def test_certificates_are_checked(tmp_path: Path, target: Target):
    words = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    made = subprocess.run(words, shell=True, cwd=tmp_path, capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *args: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.raises(InputError, match=r"certificate cannot be verified.*REQUESTS_CA_BUNDLE"):
            target.get(url=f"https://127.0.0.1:{server.server_port}/x.zip")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert target.is_clean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://site/x.zip"}, "not an http"),
        ({"url": "warwick.ac.uk/x.zip"}, "not an http"),
        ({"size": 0}, "positive"),
        ({"sha256": "abc"}, "64 hexadecimal"),
        ({"attempts": 0}, "1 or more"),
    ],
)
def test_mistakes_are_named(target: Target, options: dict, words: str):
    with pytest.raises(InputError, match=words):
        target.get(**options)
    assert target.is_clean()
