"""The API: channel statistics as JSON. Run as `uvicorn apps.api.main:app`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from datetime import datetime, timezone
from typing import Any

from apps.shared import store

Answer = tuple[int, Any]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        # SQLite blocks; the event loop must not.
        status, body = await asyncio.to_thread(answer, scope["method"], scope["path"])
        headers = [(b"content-type", b"application/json")]
        if status == 405:
            headers.append((b"allow", b"GET"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def answer(method: str, path: str) -> Answer:
    """Status and JSON body. `/health` tells about the API itself: before the first collection all is well, and empty."""
    if path != "/health" and path != "/channels" and not path.startswith("/channels/"):
        return 404, {"error": "not_found"}
    if method != "GET":
        return 405, {"error": "method_not_allowed"}
    if path == "/health":
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 200, {"status": "healthy", "reason": "healthy", "timestamp": now}
    try:
        if path == "/channels":
            return 200, {"channels": _load()}
        found = _load(path[len("/channels/") :])
    except sqlite3.Error as error:
        return 503, {"error": "database_unavailable", "detail": str(error)}
    return (200, found[0]) if found else (404, {"error": "no_such_channel"})


def _load(channel: str | None = None) -> list[dict[str, Any]]:
    connection = store.connect_read_only(store.database_path())
    if connection is None:
        return []
    with contextlib.closing(connection):
        return store.load(connection, channel)


async def _lifespan(receive: Any, send: Any) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
