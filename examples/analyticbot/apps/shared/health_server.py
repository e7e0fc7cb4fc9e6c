"""`/health`, `/metrics` and `/ready` of one process, as JSON over HTTP."""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from apps.shared.process_manager import ProcessManager

log = logging.getLogger(__name__)

CLIENT_TIMEOUT_SECONDS = 5
Answer = tuple[HTTPStatus, dict[str, Any]]


class HealthCheckServer:
    """Answers from a thread of its own, also while the worker is busy. Port 0 takes a free one; `port` then holds it."""

    def __init__(self, port: int, process_manager: ProcessManager, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host
        self.process_manager = process_manager
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Raises OSError when the address cannot be had."""
        answers = {"/health": self._health, "/metrics": self._metrics, "/ready": self._ready}
        handler = type("Handler", (_Handler,), {"answers": answers})
        self._listener = _Listener((self.host, self.port), handler)
        self.port = self._listener.server_address[1]
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="health-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Frees the port; calling it again does nothing."""
        if self._listener is None or self._thread is None:
            return
        self._stopping = True
        self._listener.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.server_close()
        self._listener = self._thread = None

    def __enter__(self) -> HealthCheckServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        assert self._listener is not None
        # `serve_forever` would wake up twice a second only to look whether it should stop.
        while not self._stopping:
            self._listener.handle_request()

    def _health(self) -> Answer:
        healthy, reason = self.process_manager.is_healthy()
        return _status(healthy), {"status": "healthy" if healthy else "unhealthy", "reason": reason}

    def _ready(self) -> Answer:
        ready, reason = self.process_manager.is_healthy()
        return _status(ready), {"ready": ready, "reason": reason}

    def _metrics(self) -> Answer:
        manager = self.process_manager
        healthy, reason = manager.is_healthy()
        remaining = manager.get_remaining_runtime()
        return HTTPStatus.OK, {
            "metrics": manager.get_metrics(),
            "health": {"is_healthy": healthy, "reason": reason},
            "runtime": {
                "uptime_hours": round(manager.get_uptime() / 3600, 3),
                "remaining_hours": None if remaining is None else round(remaining / 3600, 3),
            },
            "limits": {
                "max_runtime_hours": manager.max_runtime_hours,
                "memory_limit_mb": manager.memory_limit_mb,
                "cpu_limit_percent": manager.cpu_limit_percent,
            },
        }


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, Callable[[], Answer]]
    timeout = CLIENT_TIMEOUT_SECONDS

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.partition("?")[0])
        self._send(*(answer() if answer else (HTTPStatus.NOT_FOUND, {"error": "not_found"})))

    def __getattr__(self, name: str) -> Any:
        # The base class looks for do_POST, do_PUT, …
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "method_not_allowed"})

    def _send(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        timestamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        data = json.dumps({**body, "timestamp": timestamp}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def _status(well: bool) -> HTTPStatus:
    return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
