"""A small language client: what an editor says to a language server over standard input and output, no more."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0


class LanguageClient:
    """One server process, spoken to in JSON-RPC with ``Content-Length`` headers (LSP 3.17, base protocol).

    ``settings``: the editor's settings, by section, for the server that asks for them.
    """

    def __init__(self, argv: Sequence[str], root: Path, settings: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root
        )
        self._settings = settings
        self._answers: dict[int, Any] = {}
        self._inbox: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._number = 0
        self.configured = False
        self.diagnostics: dict[str, list[Any]] = {}
        threading.Thread(target=self._read, daemon=True).start()
        capabilities = {
            "workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}},
            "textDocument": {"completion": {"completionItem": {"documentationFormat": ["markdown"]}}},
        }
        self.request(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": root.as_uri(),
                "capabilities": capabilities,
                "workspaceFolders": None,
            },
        )
        self.notify("initialized", {})
        self.notify("workspace/didChangeConfiguration", {"settings": settings})
        self.until(lambda: self.configured)

    def open(self, file: Path) -> str:
        """Open a file in the editor; answers its URI."""
        uri = file.as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": file.read_text()}
        self.notify("textDocument/didOpen", {"textDocument": document})
        return uri

    def complete(self, uri: str, line: int, character: int) -> list[dict[str, Any]]:
        """What the editor would offer there (counted from 0); asked again, as typing does, while the server has nothing."""
        where = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        deadline = time.monotonic() + DEADLINE_S
        while True:
            found = self.request("textDocument/completion", where)
            items: list[dict[str, Any]] = found["items"] if isinstance(found, dict) else found or []
            if items or time.monotonic() > deadline:
                return items
            time.sleep(0.1)

    def request(self, method: str, params: Any) -> Any:
        """Ask, and answer the server's result."""
        self._number += 1
        number = self._number
        self._send({"id": number, "method": method, "params": params})
        self.until(lambda: number in self._answers)
        return self._answers.pop(number)

    def notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def until(self, condition: Callable[[], bool]) -> None:
        """Handle what the server sends until the condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            message = self._inbox.get(timeout=max(0.1, deadline - time.monotonic()))
            assert message is not None, "the server has gone"
            self._handle(message)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _handle(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "textDocument/publishDiagnostics":
            self.diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif method == "workspace/configuration":
            sections = [item.get("section") for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": [self._settings.get(section) for section in sections]})
            self.configured = True
        elif method and "id" in message:
            self._send({"id": message["id"], "result": None})
        elif "id" in message:
            assert "error" not in message, message["error"]
            self._answers[message["id"]] = message.get("result")

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._process.stdin.flush()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        try:
            while header := pipe.readline():
                length = int(header.split(b":")[1])
                while pipe.readline().strip():
                    pass
                self._inbox.put(json.loads(pipe.read(length)))
        except ValueError:
            pass
        self._inbox.put(None)
