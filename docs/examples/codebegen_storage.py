"""Saves, gets and lists generations through the codebegen-storage daemon.

One file, standard library only, Python 3.9 and later. A client holds no connection: threads share one, and
a web framework may make one for each request.

    from codebegen_storage import StorageClient

    storage = StorageClient()  # http://127.0.0.1:8787, or AGENT_URL and AGENT_TOKEN
    saved = storage.save_generation_with_cloud("shop", {"app/main.py": "print('hello')\\n"})
    print(saved["version"], saved["download_url"])

Every failure is a StorageError: `code` is what the daemon said (`not_found`, `conflict`, `invalid_input`,
`too_large`, `disk_full` …), or `unavailable` where there was no answer. `retryable` says whether the same
call may succeed later. Under asyncio: `await asyncio.to_thread(storage.save, …)`.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import socket
import ssl
import stat
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from typing import (
    IO,
    Any,
    BinaryIO,
    Dict,
    Iterable,
    Iterator,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
    cast,
)

#: The content of a file: text, bytes, or a mapping with `content` and, where it is not 0o644, `mode`.
Content = Union[str, bytes, Mapping[str, Any]]
Json = Dict[str, Any]

__all__ = ["StorageClient", "StorageError"]

# Bytes of content that go as JSON; the daemon takes 64 MB of it. What is more goes as a tar, as it is read.
_JSON_BYTES = 32 * 1024 * 1024
_PIECE_BYTES = 256 * 1024
# What is said of a tar is in the URL, of which the daemon takes 128 kB.
_QUERY_BYTES = 100_000
#: What a folder is saved without.
_EXCLUDED = (".git", "node_modules", ".venv", "__pycache__")


class StorageError(Exception):
    """code: for programs; retryable: whether another try may help; request_id: for the log."""

    def __init__(
        self,
        code: str,
        message: str,
        retryable: bool = False,
        request_id: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.request_id = request_id


class StorageClient:
    """url: of the daemon; token: AGENT_TOKEN; timeout: seconds that each wait for the daemon may take."""

    def __init__(
        self, url: Optional[str] = None, token: Optional[str] = None, timeout: float = 60
    ) -> None:
        self.url = (url or os.environ.get("AGENT_URL") or "http://127.0.0.1:8787").rstrip("/")
        # A file that holds a token mostly ends with a line break.
        self.token = (token or os.environ.get("AGENT_TOKEN") or "").strip() or None
        self.timeout = timeout
        try:
            parts = urllib.parse.urlsplit(self.url)
            self._host, self._port = parts.hostname, parts.port
        except ValueError as error:
            raise StorageError("invalid_input", "Cannot use the URL %r: %s" % (self.url, error)) from None
        if parts.scheme not in ("http", "https") or not self._host:
            raise StorageError("invalid_input", "Cannot use the URL %r: it is no http URL" % self.url)
        self._tls = parts.scheme == "https"
        self._base = parts.path

    # What code written for the old system calls ------------------------------------------------

    def save_generation_with_cloud(
        self,
        project_id: str,
        files: Mapping[str, Content],
        version: Optional[int] = None,
        generation_id: Optional[str] = None,
        owner_id: Optional[str] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        replace: bool = True,
    ) -> Json:
        """As `save`, with what is there under the same name replaced, and the files laid out at `path`."""
        return self.save(
            project_id,
            files,
            version=version,
            generation_id=generation_id,
            owner_id=owner_id,
            metadata=metadata,
            replace=replace,
            # Callers use the path at once.
            lay_out=True,
        )

    def get_download_url_for_generation(
        self, project_id: str, version: int, expires_in: int = 3600
    ) -> str:
        """Returns a URL that works now, for so many seconds, and needs nothing else."""
        query = {"expires_in": expires_in}
        url: str = self._json("GET", _path(project_id, version, "/download"), query)["url"]
        return url

    def enrich_generation_response(
        self, response: Mapping[str, Any], project_id: str, version: int
    ) -> Json:
        """Returns the response with download_url, expires_in, cloud_storage_enabled and storage."""
        shown = self.show(project_id, version)
        names = ("download_url", "expires_in", "cloud_storage_enabled", "storage")
        return {**response, **{name: shown[name] for name in names}}

    def get_storage_info(self) -> Json:
        """Returns where things are kept, whether the cloud is on and there, and what is owed to it."""
        return self._json("GET", "/v1/status")

    # Saving ------------------------------------------------------------------------------------

    def save(
        self,
        project_id: str,
        files: Mapping[str, Content],
        version: Optional[int] = None,
        generation_id: Optional[str] = None,
        owner_id: Optional[str] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        replace: bool = False,
        lay_out: bool = False,
    ) -> Json:
        """Saves files by path, and returns the receipt with where they are.

        It is safe on disk when this returns; the upload follows in the background. A version that is left
        out is the next free one. The same content again changes nothing (`created` is false then); other
        content under the same name is a `conflict`, unless `replace`. lay_out: whether the files are to lie
        under `path`, in `source/`, when this returns, and not only once they are asked for.
        """
        details = _details(project_id, version, generation_id, owner_id, metadata, replace, lay_out)
        contents = {path: _content(path, content) for path, content in files.items()}
        if sum(len(content) for content, _ in contents.values()) <= _JSON_BYTES:
            encoded = {path: _encode(content, mode) for path, (content, mode) in contents.items()}
            text = json.dumps({**details, "files": encoded}, ensure_ascii=False)
            body = text.encode("utf-8")
            # What is escaped takes six times as much.
            if len(body) <= 2 * _JSON_BYTES:
                return self._json("POST", "/v1/generations", None, body, "application/json")
        members = ((path, io.BytesIO(c), len(c), mode) for path, (c, mode) in contents.items())
        return self._save_tar(details, members)

    def save_folder(
        self,
        project_id: str,
        folder: Union[str, "os.PathLike[str]"],
        version: Optional[int] = None,
        generation_id: Optional[str] = None,
        owner_id: Optional[str] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        replace: bool = False,
        lay_out: bool = False,
        exclude: Sequence[str] = _EXCLUDED,
    ) -> Json:
        """Saves the files of a folder, with their modes, as they are read: of any size. Otherwise as `save`.

        exclude: names of files and folders that are left out, wherever they are. Links are left out.
        """
        details = _details(project_id, version, generation_id, owner_id, metadata, replace, lay_out)
        return self._save_tar(details, _walk(os.fspath(folder), frozenset(exclude)))

    # Reading -----------------------------------------------------------------------------------

    def get(self, project_id: str, version: int, generation_id: Optional[str] = None) -> Json:
        """Has the files lie in a folder of the daemon's host, and returns it: `source_path` holds them.

        Got from the cloud where only that has them. They are not to be changed, and stay for ten minutes
        at least. `stale`: the cloud could not be asked whether this is the newest.
        """
        return self._json("POST", _path(project_id, version, "/open"), _generation(generation_id))

    def show(self, project_id: str, version: int, generation_id: Optional[str] = None) -> Json:
        """Returns what is known of a generation: status, sizes, hashes, `metadata`, `download_url` …"""
        return self._json("GET", _path(project_id, version), _generation(generation_id))

    def list(self, project_id: str) -> Iterator[Json]:
        """Yields the generations of a project, newest version first. One that is not there has none."""
        return self._pages(_path(project_id))

    def projects(self) -> Iterator[Json]:
        """Yields the projects, by id."""
        return self._pages("/v1/projects")

    def files(self, project_id: str, version: int) -> Iterator[Json]:
        """Yields the files of a generation, by path: `path`, `size`, `sha256`, `mode`."""
        return self._pages(_path(project_id, version, "/files"))

    def read_file(self, project_id: str, version: int, path: str) -> bytes:
        """Returns the content of one file."""
        target = io.BytesIO()
        self._copy(_path(project_id, version, "/files/" + urllib.parse.quote(path)), target)
        return target.getvalue()

    def download(
        self,
        project_id: str,
        version: int,
        to: Union[str, "os.PathLike[str]", BinaryIO],
        format: str = "tar.gz",
    ) -> None:
        """Writes the archive of a generation to a path or an open file. format: "tar.gz" or "zip".

        At a path there is the whole archive or, where it fails, what was there before.
        """
        if format not in ("tar.gz", "zip"):
            raise StorageError("invalid_input", 'Cannot use format %r: "tar.gz" or "zip"' % (format,))
        path = _path(project_id, version, "/archive." + format)
        if not isinstance(to, (str, os.PathLike)):
            self._copy(path, to)
            return
        name = os.fspath(to)
        part = None
        try:
            with tempfile.NamedTemporaryFile(
                dir=os.path.dirname(name) or ".", prefix=".", suffix=".part", delete=False
            ) as file:
                part = file.name
                self._copy(path, cast(BinaryIO, file))
            os.replace(part, name)
            part = None
        except OSError as error:
            raise StorageError("unavailable", "Cannot write %r: %s" % (name, error)) from error
        finally:
            if part is not None:
                os.unlink(part)

    def diff(self, project_id: str, before: int, after: int) -> Json:
        """Returns which files were `added`, `removed`, `modified` (`path`, `from`, `to`) or `unchanged`."""
        return self._json("GET", _path(project_id) + "/diff", {"from": before, "to": after})

    # Changing ----------------------------------------------------------------------------------

    def activate(self, project_id: str, version: int) -> Json:
        """Makes a generation the active one of its project."""
        return self._json("POST", _path(project_id, version, "/activate"))

    def delete(self, project_id: str, version: int, generation_id: Optional[str] = None) -> bool:
        """Deletes a generation: here at once, in the cloud soon after. False: it was deleted already."""
        answer = self._json("DELETE", _path(project_id, version), _generation(generation_id))
        return bool(answer["deleted"])

    def delete_project(self, project_id: str) -> int:
        """Deletes all generations of a project that the daemon's host knows of. Returns how many."""
        return int(self._json("DELETE", _path(project_id))["deleted"])

    def undelete(self, project_id: str, version: int, content: Optional[str] = None) -> bool:
        """Undoes a deletion: it is there again, as it was. False: it was not deleted.

        content: the digest of what it held before it was replaced, which takes the place of what it holds.
        """
        query = {} if content is None else {"digest": content}
        answer = self._json("POST", _path(project_id, version, "/undelete"), query)
        return bool(answer["undeleted"])

    def undelete_project(self, project_id: str) -> int:
        """Undoes the deletion of all generations of a project that are still kept. Returns how many."""
        return int(self._json("POST", _path(project_id, rest="/undelete"))["undeleted"])

    def clean_up(self) -> Json:
        """Evicts cached copies and trees that are too old or too much, by the daemon's settings."""
        return self._json("POST", "/v1/cleanup")

    # The way there -----------------------------------------------------------------------------

    def _save_tar(self, details: Json, members: "Iterable[_Member]") -> Json:
        query = {
            name: json.dumps(value, ensure_ascii=False) if name == "metadata" else _text(value)
            for name, value in details.items()
        }
        if len(urllib.parse.urlencode(query)) > _QUERY_BYTES:
            message = "Cannot save %r: with so many bytes of files its metadata must be under %d, in URL form"
            raise StorageError("too_large", message % (details["project_id"], _QUERY_BYTES))
        body = _tar(members)
        return self._json("POST", "/v1/generations", query, body, "application/x-tar")

    def _pages(self, path: str) -> Iterator[Json]:
        query: Json = {}
        while True:
            page = self._json("GET", path, query)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            query = {"cursor": page["next_cursor"]}

    def _json(
        self,
        method: str,
        path: str,
        query: Optional[Mapping[str, Any]] = None,
        body: Union[bytes, Iterable[bytes], None] = None,
        content_type: Optional[str] = None,
    ) -> Json:
        connection, answer = self._ask(method, path, query, body, content_type)
        try:
            value = json.loads(answer.read())
        except ValueError:
            raise self._not_ours(answer.status) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._cut_off(error) from error
        finally:
            connection.close()
        if not isinstance(value, dict):
            raise self._not_ours(answer.status)
        return value

    def _copy(self, path: str, target: BinaryIO) -> None:
        connection, answer = self._ask("GET", path)
        try:
            # Only the cloud has it: a signed URL, to which our token is not sent.
            location = answer.getheader("Location")
            source: Any = self._follow(location) if answer.status == 302 and location else answer
            expected = source.headers.get("Content-Length")
            count = 0
            while True:
                piece = self._read(source)
                if not piece:
                    break
                count += len(piece)
                try:
                    target.write(piece)
                except OSError as error:
                    raise StorageError("unavailable", "Cannot write: %s" % error) from error
            if expected is not None and count != int(expected):
                raise self._cut_off("%d of %s bytes arrived" % (count, expected))
        finally:
            connection.close()

    def _read(self, answer: Any) -> bytes:
        try:
            piece: bytes = answer.read(_PIECE_BYTES)
            return piece
        except (OSError, http.client.HTTPException) as error:
            raise self._cut_off(error) from error

    def _follow(self, url: str) -> Any:
        # The cloud's: by the proxy that the environment names, if one is the way there.
        try:
            return urllib.request.urlopen(url, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            raise self._not_ours(error.code) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._cut_off(error) from error

    def _connect(self, tls: bool, host: str, port: Optional[int]) -> http.client.HTTPConnection:
        # Not by a proxy that the environment names: it is not the way to this host.
        if tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=self.timeout)

    def _ask(
        self,
        method: str,
        path: str,
        query: Optional[Mapping[str, Any]] = None,
        body: Union[bytes, Iterable[bytes], None] = None,
        content_type: Optional[str] = None,
    ) -> Tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Returns an answer that is no failure, and the connection to close."""
        headers = {"Accept": "application/json, */*"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        if body is None and method == "POST":
            body = b""
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        target = self._base + path
        if query:
            target += "?" + urllib.parse.urlencode(query)
        connection = self._connect(self._tls, self._host or "", self._port)
        try:
            answer = self._exchange(connection, method, target, body, headers)
        except BaseException:
            connection.close()
            raise
        if answer.status >= 400:
            try:
                raise self._failure(answer)
            finally:
                connection.close()
        return connection, answer

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: Union[bytes, Iterable[bytes], None],
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        try:
            chunked = body is not None and not isinstance(body, bytes)
            sent = {**headers, **({"Transfer-Encoding": "chunked"} if chunked else {})}
            try:
                connection.request(method, target, body, sent, encode_chunked=chunked)
            except (BrokenPipeError, ConnectionResetError):
                # It refused before all was sent: why stands in its answer.
                if connection.sock is None:
                    raise
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._out_of_reach(error) from error
        except ValueError as error:
            raise StorageError("invalid_input", "Cannot ask the daemon: %s" % error) from error

    def _failure(self, answer: http.client.HTTPResponse) -> StorageError:
        try:
            problem = json.loads(answer.read())
            code, detail = problem["code"], problem["detail"]
        except (ValueError, KeyError, TypeError):
            return self._not_ours(answer.status)
        except (OSError, http.client.HTTPException) as error:
            return self._cut_off(error)
        retryable = code in ("unavailable", "rate_limited")
        return StorageError(code, detail, retryable, problem.get("request_id"))

    def _not_ours(self, status: int) -> StorageError:
        """A gateway that is in between may be better later; anything else is at another URL."""
        message = "%s answered %d, and not as the daemon does: see AGENT_URL" % (self.url, status)
        return StorageError("unavailable", message, status in (502, 503, 504))

    def _out_of_reach(self, error: Exception) -> StorageError:
        # A name that is nobody's, or a certificate that is not trusted, will be so the next time.
        final = isinstance(error, (socket.gaierror, ssl.SSLError))
        message = "Cannot reach the daemon at %s: %s" % (self.url, error or type(error).__name__)
        return StorageError("unavailable", message, not final)

    def _cut_off(self, error: Any) -> StorageError:
        message = "The answer of %s was cut off: %s" % (self.url, error or type(error).__name__)
        return StorageError("unavailable", message, True)


# A path in the generation, what its content is read from, its bytes, its mode.
_Member = Tuple[str, BinaryIO, int, int]


def _path(project_id: str, version: Optional[int] = None, rest: str = "") -> str:
    # What is not an id is refused by the daemon, with the reason: also "." and "..", which no URL keeps.
    project = urllib.parse.quote(project_id, safe="").replace(".", "%2E")
    return "/v1/projects/" + project + ("" if version is None else "/%d" % version) + rest


def _generation(generation_id: Optional[str]) -> Json:
    return {} if generation_id is None else {"generation": generation_id}


def _details(
    project_id: str,
    version: Optional[int],
    generation_id: Optional[str],
    owner_id: Optional[str],
    metadata: Optional[Mapping[str, Any]],
    replace: bool,
    lay_out: bool,
) -> Json:
    details = {
        "project_id": project_id,
        "version": version,
        "generation_id": generation_id,
        "owner_id": owner_id,
        "metadata": metadata,
        "replace": True if replace else None,
        "tree": "now" if lay_out else None,
    }
    return {name: value for name, value in details.items() if value is not None}


def _text(value: Any) -> str:
    return "true" if value is True else str(value)


def _content(path: str, content: Content) -> Tuple[bytes, int]:
    mode = 0o644
    if isinstance(content, Mapping):
        if "content" not in content:
            raise StorageError("invalid_input", "Cannot use file %r: it has no content" % path)
        mode = content.get("mode", mode)
        content = content["content"]
    if isinstance(content, str):
        try:
            content = content.encode("utf-8")
        except UnicodeEncodeError as error:
            raise StorageError("invalid_input", "Cannot use file %r: %s" % (path, error)) from None
    if not isinstance(content, (bytes, bytearray, memoryview)):
        message = "Cannot use file %r: its content is a %s, not str or bytes"
        raise StorageError("invalid_input", message % (path, type(content).__name__))
    return bytes(content), mode


def _encode(content: bytes, mode: int) -> Json:
    try:
        encoded: Json = {"content": content.decode("utf-8")}
    except UnicodeDecodeError:
        encoded = {"content": base64.b64encode(content).decode("ascii"), "encoding": "base64"}
    return encoded if mode == 0o644 else {**encoded, "mode": mode}


def _walk(folder: str, excluded: "frozenset[str]", below: str = "") -> Iterator[_Member]:
    """The regular files of a folder, by name. Links are not followed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.name in excluded:
                continue
            path = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, excluded, path + "/")
            elif entry.is_file(follow_symlinks=False):
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(descriptor, "rb") as file:
                    known = os.fstat(file.fileno())
                    yield path, file, known.st_size, stat.S_IMODE(known.st_mode)
    except OSError as error:
        raise StorageError("invalid_input", "Cannot read %r: %s" % (folder, error)) from error


class _Pieces(io.RawIOBase):
    """What is written to it, in pieces to take."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: "list[bytes]" = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self.pieces)
        self.pieces.clear()
        return taken


def _tar(members: Iterable[_Member]) -> Iterator[bytes]:
    """A tar, in pieces as they are made: no more than one of them is held."""
    pieces = _Pieces()
    target = cast(IO[bytes], pieces)
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path, file, size, mode in members:
            info = tarfile.TarInfo(path)
            info.size, info.mode = size, mode
            tar.addfile(info)
            left = size
            while left > 0:
                try:
                    piece = file.read(min(_PIECE_BYTES, left))
                except OSError as error:
                    raise StorageError("invalid_input", "Cannot read %r: %s" % (path, error)) from error
                if not piece:
                    raise StorageError("conflict", "Cannot save %r: it changed while it was read" % path)
                left -= len(piece)
                tar.fileobj.write(piece)  # type: ignore[union-attr]
                yield from _taken(pieces)
            tar.fileobj.write(b"\0" * (-size % tarfile.BLOCKSIZE))  # type: ignore[union-attr]
            tar.offset += size + (-size % tarfile.BLOCKSIZE)
    yield from _taken(pieces)


def _taken(pieces: _Pieces) -> Iterator[bytes]:
    taken = pieces.take()
    # An empty piece would end the body.
    if taken:
        yield taken
