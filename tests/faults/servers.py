"""A web server that answers when the test says so."""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SlowServer:
    """Serves ``content`` under every path below ``/``, each answer held back until :meth:`open`. ``status``: of every answer."""

    content = b"a,b\n1,2\n" * 1000

    def __init__(self, status: int = 200) -> None:
        self._opened = threading.Event()
        self._requests: queue.SimpleQueue[str] = queue.SimpleQueue()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._requests.put(self.path)
                server._opened.wait(60)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(server.content)))
                    self.end_headers()
                    self.wfile.write(server.content)
                except OSError:  # whoever asked was killed
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that was killed in the middle is what these tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def url(self, path: str, credentials: str = "") -> str:
        return f"http://{credentials}127.0.0.1:{self._server.server_port}/{path}"

    def wait_for_request(self) -> str:
        """Until somebody asks; what for."""
        return self._requests.get(timeout=60)

    def open(self) -> None:
        """Answer, from now on."""
        self._opened.set()

    def close(self) -> None:
        self._opened.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
