"""The SQLite file between the collector, which writes it, the bot and the API."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from apps.shared.statistics import ChannelStatistics

BUSY_TIMEOUT_SECONDS = 1.0
COLUMNS = tuple(field.name for field in dataclasses.fields(ChannelStatistics))
JSON_COLUMNS = ("top_hours", "top_words")

SCHEMA = """
CREATE TABLE IF NOT EXISTS channel_statistics (
    channel         TEXT PRIMARY KEY,
    messages        INTEGER NOT NULL,
    authors         INTEGER NOT NULL,
    views           INTEGER NOT NULL,
    reactions       INTEGER NOT NULL,
    forwards        INTEGER NOT NULL,
    engagement_rate REAL NOT NULL,
    top_hours       TEXT NOT NULL,
    top_words       TEXT NOT NULL,
    first_message   TEXT,
    last_message    TEXT,
    skipped_lines   INTEGER NOT NULL,
    revision        INTEGER NOT NULL DEFAULT 1,
    changed_at      TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS posted (channel TEXT PRIMARY KEY, revision INTEGER NOT NULL);
"""

SAVE = """
INSERT INTO channel_statistics ({columns}, changed_at) VALUES ({values}, :changed_at)
ON CONFLICT (channel) DO UPDATE SET {assignments}, revision = revision + 1, changed_at = excluded.changed_at
WHERE ({columns}) IS NOT ({excluded})
""".format(
    columns=", ".join(COLUMNS),
    values=", ".join(f":{column}" for column in COLUMNS),
    assignments=", ".join(f"{column} = excluded.{column}" for column in COLUMNS),
    excluded=", ".join(f"excluded.{column}" for column in COLUMNS),
)

UNPOSTED = """
SELECT statistics.* FROM channel_statistics AS statistics LEFT JOIN posted USING (channel)
WHERE posted.revision IS NOT statistics.revision ORDER BY channel
"""


def database_path() -> Path:
    """`$ANALYTICS_DB`, else `var/analytics.sqlite3` of the application."""
    application = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("ANALYTICS_DB") or application / "var" / "analytics.sqlite3")


def connect(path: Path) -> sqlite3.Connection:
    """Opens the database to write, making its folder and tables. Raises OSError or sqlite3.Error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection | None:
    """Opens the database to read; None while there is none. Raises sqlite3.Error."""
    if not path.exists():
        return None
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_SECONDS)
    connection.row_factory = sqlite3.Row
    return connection


def save(connection: sqlite3.Connection, statistics: ChannelStatistics) -> bool:
    """Stores what was counted; returns whether anything is different from before."""
    row = dataclasses.asdict(statistics)
    row.update({column: json.dumps(row[column]) for column in JSON_COLUMNS})
    row["changed_at"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    with connection:
        return connection.execute(SAVE, row).rowcount > 0


def load(connection: sqlite3.Connection, channel: str | None = None) -> list[dict[str, Any]]:
    """All channels by name, or the one asked for."""
    query = "SELECT * FROM channel_statistics WHERE :channel IS NULL OR channel = :channel ORDER BY channel"
    return [_from_row(row) for row in connection.execute(query, {"channel": channel})]


def unposted(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Channels that changed since their last post."""
    return [_from_row(row) for row in connection.execute(UNPOSTED)]


def mark_posted(connection: sqlite3.Connection, channel: str, revision: int) -> None:
    with connection:
        connection.execute("INSERT OR REPLACE INTO posted (channel, revision) VALUES (?, ?)", (channel, revision))


def _from_row(row: sqlite3.Row) -> dict[str, Any]:
    # A Row iterates over its values, not its names.
    return {name: json.loads(row[name]) if name in JSON_COLUMNS else row[name] for name in row.keys()}
