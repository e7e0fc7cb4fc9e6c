"""The bot: posts a digest to its log whenever a channel's statistics changed. Run as `python -m apps.bot.run_bot`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sqlite3
import sys
from pathlib import Path
from typing import Any

from apps.shared import logs, store
from devstack import ProcessManager

log = logging.getLogger("bot")


def post_digests(database: Path) -> int:
    """Posts what changed since the last post and returns how many; 0 while there is no database. Raises sqlite3.Error."""
    if not database.exists():
        return 0
    with contextlib.closing(store.connect(database)) as connection:
        changed = store.unposted(connection)
        for statistics in changed:
            log.info("post: %s", digest(statistics))
            store.mark_posted(connection, statistics["channel"], statistics["revision"])
        return len(changed)


def digest(statistics: dict[str, Any]) -> str:
    words = ", ".join(word for word, _ in statistics["top_words"][:3])
    return "{channel} has {messages} messages and {views} views, engagement {engagement_rate:.2f} %".format(**statistics) + (
        f"; talk of {words}" if words else ""
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m apps.bot.run_bot", description="Posts channel digests.")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="time between two looks (2)")
    parser.add_argument("--log-level", type=str.upper, default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    options = parser.parse_args(arguments)
    if not 0 < options.interval < float("inf"):
        parser.error("--interval must be more than 0 seconds")
    logs.configure(options.log_level)

    database = store.database_path()
    trouble = None
    with ProcessManager(name="bot") as manager:
        log.info("watching %s", database)
        while manager.should_continue():
            manager.heartbeat()
            try:
                post_digests(database)
                trouble = None
            except (sqlite3.Error, OSError) as error:
                # Once, not every two seconds, while it lasts.
                if str(error) != trouble:
                    log.warning("cannot read %s: %s", database, error)
                trouble = str(error)
            manager.wait(options.interval)
        log.info("stopping: %s", manager.shutdown_reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
