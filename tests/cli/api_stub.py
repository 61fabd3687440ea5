"""A server on loopback that answers as an API server may, good or bad, and a kubeconfig that names it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import yaml

#: Status and body by path, with the query or without, or by method and path; what is not there is answered as an API
#: server does.
Answers = dict[str, tuple[int, Any]]
GROUP = "/apis/finetune.dev"
JOBS = f"{GROUP}/v1alpha1/namespaces/search/finetunejobs"


def versions(*names: str) -> tuple[int, Any]:
    """Return what is answered to the question which versions of our group there are."""
    return 200, {"versions": [{"version": name} for name in names]}


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """Yield the address of a server that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            known = (name for name in (f"{self.command} {path}", self.path, path) if name in answers)
            status, body = answers.get(next(known, ""), (404, {"message": f"{self.path} not found"}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        do_POST = do_GET  # noqa: N815 - the name that the library looks for

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def write_kubeconfig(path: Path, address: str, *, namespace: str = "search") -> None:
    """Write a kubeconfig with one context, `here`."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": namespace}}],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(content))
