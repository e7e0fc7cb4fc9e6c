"""The collector: counts every channel's messages in a pool of processes and stores the result, again and again.

Run as `python -m apps.mtproto.worker`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import logging
import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from apps.shared import logs, store
from apps.shared.statistics import ChannelStatistics, read_channel
from devstack import HealthCheckServer, ProcessManager

log = logging.getLogger("mtproto")

RETRY_SECONDS = 5.0
PULSE_SECONDS = 0.2
POOL_CLOSE_SECONDS = 1.0


class Collector:
    """One pool of spawned processes, kept from the first cycle to `close()`."""

    def __init__(self, manager: ProcessManager, workers: int) -> None:
        self._manager = manager
        self._workers = workers
        self._pool = self._new_pool()

    def collect(self, channels: dict[str, Path], database: Path) -> bool:
        """One cycle. Returns whether every channel was counted and stored; what failed is logged."""
        try:
            with contextlib.closing(store.connect(database)) as connection:
                return self._collect(channels, connection)
        except BrokenProcessPool:
            log.error("a pool process died; starting a new pool")
            self.close()
            self._pool = self._new_pool()
        except (sqlite3.Error, OSError) as error:
            log.error("cannot store statistics in %s: %s", database, error)
        return False

    def close(self) -> None:
        """Lets the pool end in order, which frees its semaphores; kills a process that does not follow."""
        impatience = threading.Timer(POOL_CLOSE_SECONDS, _kill_children)
        impatience.start()
        self._pool.shutdown(wait=True, cancel_futures=True)
        impatience.cancel()

    def _collect(self, channels: dict[str, Path], connection: sqlite3.Connection) -> bool:
        pending = {self._pool.submit(read_channel, name, file): name for name, file in channels.items()}
        complete = True
        while pending and self._manager.should_continue():
            done, _ = concurrent.futures.wait(pending, PULSE_SECONDS, concurrent.futures.FIRST_COMPLETED)
            for future in done:
                name = pending.pop(future)
                self._manager.heartbeat()
                try:
                    statistics = future.result()
                except OSError as error:
                    log.error("%s: cannot read messages: %s", name, error)
                    complete = False
                else:
                    _report(statistics, changed=store.save(connection, statistics))
        for future in pending:
            future.cancel()
        return complete and not pending

    def _new_pool(self) -> concurrent.futures.ProcessPoolExecutor:
        return concurrent.futures.ProcessPoolExecutor(
            self._workers, multiprocessing.get_context("spawn"), initializer=_leave_interrupts_to_the_worker
        )


def find_channels(folder: Path, user_id: int | None) -> dict[str, Path]:
    """Message files by channel, of one user or of all. Raises OSError or ValueError when the list cannot be read."""
    entries = json.loads((folder / "channels.json").read_text(encoding="utf-8"))
    return {
        entry["name"]: folder / f"{entry['name']}.jsonl"
        for entry in entries
        if user_id is None or entry["user_id"] == user_id
    }


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    logs.configure(options.log_level)
    folder = Path(os.environ.get("ANALYTICS_DATA") or Path(__file__).resolve().parents[2] / "data")
    try:
        channels = find_channels(folder, options.user_id)
    except (OSError, ValueError) as error:
        parser.error(f"cannot read the list of channels in {folder}: {error}")
    if not channels:
        parser.error(f"no channel belongs to user {options.user_id}" if options.user_id is not None else f"no channel in {folder}")

    manager = ProcessManager(
        name="mtproto_worker_all" if options.user_id is None else f"mtproto_worker_user_{options.user_id}",
        max_runtime_hours=options.max_runtime,
        memory_limit_mb=options.memory_limit,
        cpu_limit_percent=options.cpu_limit,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(manager)
        # A single collection must run beside the worker that holds the port.
        if options.health_port and not options.once:
            try:
                stack.enter_context(HealthCheckServer(options.health_port, manager))
            except OSError as error:
                log.error("cannot listen on 127.0.0.1:%d: %s", options.health_port, error)
                return 1
        collector = stack.enter_context(contextlib.closing(Collector(manager, options.workers)))
        log.info("collecting %d channels every %g minutes, pool of %d", len(channels), options.interval, options.workers)

        while manager.should_continue():
            complete = collector.collect(channels, store.database_path())
            if options.once:
                return 0 if complete else 1
            pause = options.interval * 60
            manager.wait(pause if complete else min(pause, RETRY_SECONDS))
        log.info("stopping: %s", manager.shutdown_reason)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m apps.mtproto.worker", description="Collects channel statistics.")
    parser.add_argument("--interval", type=_not_negative, default=10, metavar="MINUTES", help="time between two collections (10)")
    parser.add_argument("--max-runtime", type=_not_negative, default=24, metavar="HOURS", help="0: infinite (24)")
    parser.add_argument("--memory-limit", type=_not_negative, default=2048, metavar="MB", help="0: none (2048)")
    parser.add_argument("--cpu-limit", type=_not_negative, default=80, metavar="PERCENT", help="of one core; 0: none (80)")
    parser.add_argument("--health-port", type=_port, default=9091, metavar="PORT", help="on 127.0.0.1; 0: disabled (9091)")
    parser.add_argument("--log-level", type=str.upper, default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument("--once", action="store_true", help="collect once, without a health port, and exit")
    parser.add_argument("--user-id", type=int, metavar="ID", help="only the channels of this user")
    parser.add_argument("--workers", type=_positive, default=2, metavar="COUNT", help="processes in the pool (2)")
    return parser


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to 65535")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number


def _report(statistics: ChannelStatistics, changed: bool) -> None:
    busiest = f"{statistics.top_hours[0][0]:02}:00" if statistics.top_hours else "never"
    log.info(
        "%s: %d messages by %d authors, %d views, engagement %.2f %%, busiest %s%s%s",
        statistics.channel,
        statistics.messages,
        statistics.authors,
        statistics.views,
        statistics.engagement_rate,
        busiest,
        f", {statistics.skipped_lines} lines skipped" if statistics.skipped_lines else "",
        "" if changed else " (unchanged)",
    )


def _leave_interrupts_to_the_worker() -> None:
    # Ctrl-C reaches the whole foreground group; only the worker itself may decide what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _kill_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
