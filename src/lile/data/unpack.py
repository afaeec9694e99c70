"""A zip archive into a folder: all of it or nothing, and nothing anywhere else.

The archive comes from outside, so names that leave the folder, links, encrypted members and zip bombs are refused
before a byte is written.
"""

from __future__ import annotations

import logging
import lzma
import os
import re
import shutil
import stat
import zipfile
import zlib
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from lile.data.archives import MARKER, facts_of, holds
from lile.errors import InputError
from lile.files import sha256_of, write_json

log = logging.getLogger(__name__)

LARGEST_RATIO = 100
"""Unpacked bytes per archive byte; images hardly shrink, text by ten."""
ALWAYS_ALLOWED_BYTES = 100_000_000
"""A small archive of text may shrink by more."""
JUNK = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|Thumbs\.db$|desktop\.ini$|\._[^/]*$)")

Members = list[tuple[zipfile.ZipInfo, PurePosixPath]]
"""A file in the archive, and its path below the folder."""


def unpack_archive(
    archive: Path, folder: Path, *, size: int, sha256: str, root_file: str | None, alone: bool, keep: bool
) -> dict[str, Any]:
    """Make ``folder`` hold what a fetched archive does, and then remove the archive unless it is to be kept.

    The archive goes last, once the files are on the disk: killed at any moment, nothing must be fetched again.

    Args:
        archive: the zip file; it need not be there where ``folder`` was unpacked from it before.
        folder: see :func:`unpack`.
        size: bytes of the archive, as fetched.
        sha256: its digest, as fetched.
        root_file: see :func:`unpack`.
        alone: see :func:`unpack`.
        keep: whether the archive stays.

    Returns:
        What :func:`unpack` returns.

    Raises:
        InputError: as :func:`unpack`; or neither the archive nor its folder is there.
    """
    facts = facts_of(folder) if holds(folder, size, sha256) else None
    if facts is not None:
        log.info("%s: already unpacked from %s", folder, facts["archive"])
    elif archive.is_file():
        facts = unpack(archive, folder, root_file=root_file, alone=alone)
    else:
        record = archive.with_suffix(".json")
        raise InputError(f"{archive}: gone, and {folder} is not what was in it; delete {record} to download it again")
    if not keep:
        os.sync()
        archive.unlink(missing_ok=True)
    return facts


def unpack(archive: Path, folder: Path, *, root_file: str | None = None, alone: bool = False) -> dict[str, Any]:
    """Unpack a zip so that ``folder`` is either the whole of it or not there.

    Args:
        archive: a zip file.
        folder: made by this function; an older unpacking of another archive is replaced.
        root_file: name of a file that lies at the top of ``folder`` afterwards, or a pattern of names: leading folders
            of the archive above it are dropped, whatever they are called, and what lies outside is left out. None takes
            all as it is.
        alone: only the files that ``root_file`` names, at the top, are taken.

    Returns:
        What the marker file holds: ``{"archive", "sha256", "size", "files"}``.

    Raises:
        InputError: not a readable zip, an unsafe or damaged member, no ``root_file``, no room on the disk, or a folder
            that somebody else put there.
        OSError: the folder cannot be written; nothing is left behind.
    """
    size, sha256 = _size_of(archive), sha256_of(archive)
    facts: dict[str, Any] = {"archive": archive.name, "size": size, "sha256": sha256}
    _refuse_foreign(folder)
    if holds(folder, size, sha256):
        log.info("%s: already unpacked from %s", folder, archive.name)
        return facts_of(folder) or facts
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive, root_file, alone)
            _check_room(members, archive, folder)
            _extract(opened, members, part)
        facts["files"] = len(members)
        write_json(part / MARKER, facts)
        _put_in_place(part, folder)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError) as error:
        raise InputError(
            f"{archive}: cannot be unpacked ({error}): damaged, or cut short. Delete every file here whose name begins "
            f"with {archive.stem}. and download it again"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    log.info("%s: %d files from %s", folder, facts["files"], archive.name)
    return facts


def _size_of(archive: Path) -> int:
    if not archive.is_file():
        raise InputError(f"{archive}: there is no such file; download it first")
    return archive.stat().st_size


def _refuse_foreign(folder: Path) -> None:
    """Raise ``InputError`` where ``folder`` holds files of somebody else."""
    if folder.exists() and not (folder / MARKER).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(
            f"{folder}: holds files that were not unpacked here; move them away, or name the folder that holds them in "
            "the config and set download: false"
        )


def _members(opened: zipfile.ZipFile, archive: Path, root_file: str | None, alone: bool) -> Members:
    """Return the files to unpack, after all checks that need no unpacking."""
    files = []
    for info in opened.infolist():
        path = _safe_path(info, archive)
        if not info.is_dir() and not JUNK.search(path.as_posix()):
            files.append((info, path))
    if not files:
        raise InputError(f"{archive}: holds no file; download it again")
    if root_file is not None:
        files = _below_root(files, root_file, archive, alone)
    _check_names(files, archive)
    _check_bomb([info for info, _ in files], archive)
    return files


def _safe_path(info: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    name = info.filename
    path = PurePosixPath(name)
    refused = f"{archive}: refused, nothing was unpacked: member {name!r}"
    if path.is_absolute() or ".." in path.parts or "\\" in info.orig_filename or re.match(r"[A-Za-z]:", name):
        raise InputError(f"{refused} would be written outside the folder")
    if "\0" in info.orig_filename or not path.parts:
        raise InputError(f"{refused} has a name that no file can have")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{refused} is a link or device, not a file")
    if info.flag_bits & 0x1:
        raise InputError(f"{refused} is encrypted; unpack it yourself and name the folder in the config")
    return path


def _below_root(files: Members, root_file: str, archive: Path, alone: bool) -> Members:
    named = [(info, path) for info, path in files if fnmatchcase(path.name, root_file)]
    if not named:
        tops = sorted({path.parts[0] for _, path in files})
        raise InputError(f"{archive}: holds no {root_file}; at its top: {tops[:10]}. Is it the right archive?")
    root = min((path.parent for _, path in named), key=lambda parent: (len(parent.parts), parent))
    wanted = [pair for pair in named if pair[1].parent == root] if alone else files
    inside = [(info, path.relative_to(root)) for info, path in wanted if path.is_relative_to(root)]
    if len(inside) < len(files):
        log.log(
            logging.INFO if alone else logging.WARNING,
            "%s: %d files beside %s left out",
            *(archive.name, len(files) - len(inside), root / root_file),
        )
    return inside


def _check_names(files: Members, archive: Path) -> None:
    seen: set[str] = set()
    for _, path in files:
        name = path.as_posix().casefold()
        if name in seen or name == MARKER:
            raise InputError(f"{archive}: refused, nothing was unpacked: member {path.as_posix()!r} stands twice")
        seen.add(name)


def _check_bomb(infos: list[zipfile.ZipInfo], archive: Path) -> None:
    total, limit = sum(info.file_size for info in infos), LARGEST_RATIO * archive.stat().st_size
    if total > max(limit, ALWAYS_ALLOWED_BYTES):
        raise InputError(
            f"{archive}: refused, nothing was unpacked: {archive.stat().st_size} bytes would become {total}, more than "
            f"{LARGEST_RATIO} times as many (a zip bomb?)"
        )


def _check_room(members: Members, archive: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(info.file_size for info, _ in members)
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise InputError(f"{folder.parent}: {free} bytes free, {needed} needed to unpack {archive.name}; make room")


def _extract(opened: zipfile.ZipFile, members: Members, part: Path) -> None:
    from tqdm import tqdm

    total = sum(info.file_size for info, _ in members)
    with tqdm(total=total, unit="B", unit_scale=True, desc=f"unpack {part.name.strip('.')}", disable=None) as bar:
        for info, path in members:
            target = part / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with (
                opened.open(info) as source,
                target.open("xb") as sink,
            ):  # reads file_size bytes at most, checks the CRC
                shutil.copyfileobj(source, sink, 1 << 20)
            bar.update(info.file_size)


def _put_in_place(part: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
