"""Saves generations through the codebegen-storage daemon. One file, standard library only.

    from codebegen_storage import StorageClient

    storage = StorageClient()  # http://127.0.0.1:8787, or AGENT_URL and AGENT_TOKEN
    saved = storage.save_generation_with_cloud("shop", {"app/main.py": "print('hello')\\n"})
    print(saved["version"], saved["download_url"])

The four calls are those of the old system. Every failure is a StorageError with the code that the
daemon gave; `unavailable` where there was no answer.
"""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request


class StorageError(Exception):
    """code: for programs; retryable: whether another try may help; request_id: for the log."""

    RETRYABLE = ("unavailable", "rate_limited")

    def __init__(self, code, message, request_id=None):
        super().__init__(message)
        self.code = code
        self.retryable = code in self.RETRYABLE
        self.request_id = request_id


class StorageClient:
    def __init__(self, url=None, token=None, timeout=60):
        """timeout: seconds that one call may wait for the daemon."""
        self.url = (url or os.environ.get("AGENT_URL", "http://127.0.0.1:8787")).rstrip("/")
        # A file that holds a token mostly ends with a line break.
        self.token = (token or os.environ.get("AGENT_TOKEN") or "").strip() or None
        self.timeout = timeout
        # A proxy that the environment names is not the way to this host.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def save_generation_with_cloud(
        self,
        project_id,
        files,
        version=None,
        generation_id=None,
        owner_id=None,
        metadata=None,
        replace=True,
    ):
        """Saves files (path -> str or bytes), and returns the receipt with where they are.

        It is safe on disk when this returns; the upload follows in the background. A version that
        is left out is the next free one. What is there under the same name is replaced.
        """
        body = {
            "project_id": project_id,
            "version": version,
            "generation_id": generation_id,
            "owner_id": owner_id,
            "metadata": metadata,
            "replace": replace,
            # Callers use the path at once.
            "tree": "now",
            "files": {path: self._encode(content) for path, content in files.items()},
        }
        given = {name: value for name, value in body.items() if value is not None}
        return self._call("POST", "/v1/generations", given)

    def get_download_url_for_generation(self, project_id, version, expires_in=3600):
        """Returns a URL that works now, for so many seconds, and needs nothing else."""
        path = self._path(project_id, version) + "/download?expires_in=%d" % expires_in
        return self._call("GET", path)["url"]

    def enrich_generation_response(self, response, project_id, version):
        """Returns the response with download_url, expires_in, cloud_storage_enabled and storage."""
        shown = self._call("GET", self._path(project_id, version))
        names = ("download_url", "expires_in", "cloud_storage_enabled", "storage")
        return {**response, **{name: shown[name] for name in names}}

    def get_storage_info(self):
        """Returns where things are kept, whether the cloud is on, and what is owed to it."""
        return self._call("GET", "/v1/status")

    @staticmethod
    def _path(project_id, version):
        return "/v1/projects/%s/%d" % (urllib.parse.quote(project_id, safe=""), version)

    @staticmethod
    def _encode(content):
        if isinstance(content, str):
            return content
        return {"content": base64.b64encode(content).decode("ascii"), "encoding": "base64"}

    def _call(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode("utf-8")
            request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise self._error_of(error) from None
        except (OSError, ValueError) as error:
            message = "Cannot reach the daemon at %s: %s" % (self.url, error)
            raise StorageError("unavailable", message) from error

    @staticmethod
    def _error_of(error):
        try:
            problem = json.load(error)
            return StorageError(problem["code"], problem["detail"], problem.get("request_id"))
        except (ValueError, KeyError, TypeError):
            return StorageError("unavailable", "The daemon answered %d" % error.code)
