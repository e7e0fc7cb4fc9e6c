import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

APPLICATION = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(APPLICATION))

PATIENCE_SECONDS = 20


def eventually(condition, seconds=PATIENCE_SECONDS):
    """The first true value of `condition()`; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"not within {seconds} s: {condition}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port, path, method="GET"):
    """Status and JSON body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Program:
    """`python -m MODULE` in a session of its own, so that everything it leaves can be found and removed."""

    def __init__(self, log, environment, module, *arguments):
        self._log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                cwd=APPLICATION, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )

    @property
    def log(self):
        return self._log.read_text()

    def wait_for_log(self, text, times=1):
        eventually(lambda: self.log.count(text) >= times or self.process.poll() is not None)
        assert self.log.count(text) >= times, self.log

    def terminate(self):
        """Sends SIGTERM; returns the exit status and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS), time.monotonic() - began

    def members(self):
        """Living processes of its session."""
        return [pid for pid, state, session in _processes() if session == self.process.pid and state != "Z"]

    def pool(self):
        """Its pool processes, as pids."""
        return [pid for pid in self.members() if b"multiprocessing.spawn" in _read(pid, "cmdline")]

    def semaphores(self):
        """Files of the named semaphores it has open; never empty while its pool lives."""
        # By inode: the C library maps a semaphore under a temporary name before it links the real one.
        maps = _read(self.process.pid, "maps").decode().splitlines()
        inodes = {int(line.split()[4]) for line in maps if "/dev/shm/sem." in line}
        files = {file for file in Path("/dev/shm").glob("sem.mp-*") if _inode(file) in inodes}
        assert files
        return files

    def remove(self):
        # The tracker leaves by itself once its pool is gone, and takes the semaphores along.
        _kill(pid for pid in self.members() if b"multiprocessing.resource_tracker" not in _read(pid, "cmdline"))
        self.process.wait()
        deadline = time.monotonic() + 2
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.02)
        _kill(self.members())


def _kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _processes():
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _read(int(entry.name), "stat").rpartition(b")")[2].split()
            if fields:
                yield int(entry.name), fields[0].decode(), int(fields[3])


def _read(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _inode(file):
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        return None


@pytest.fixture
def database(tmp_path, monkeypatch):
    path = tmp_path / "var" / "analytics.sqlite3"
    monkeypatch.setenv("ANALYTICS_DB", str(path))
    return path


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two channels of two users, three messages."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("ANALYTICS_DATA", str(folder))
    (folder / "channels.json").write_text('[{"name": "birds", "user_id": 1}, {"name": "boats", "user_id": 2}]')
    (folder / "birds.jsonl").write_text(message() + message(author=8, views=50))
    (folder / "boats.jsonl").write_text(message())
    return folder


def message(date="2025-10-01T07:30:00Z", author=7, text="Herons nest", views=150, forwards=1, **reactions):
    body = dict(date=date, author=author, text=text, views=views, forwards=forwards, reactions=reactions)
    return json.dumps(body) + "\n"


@pytest.fixture
def run(tmp_path, database):
    programs = []

    def start(module, *arguments):
        program = Program(tmp_path / f"{len(programs)}.log", dict(os.environ, PYTHONUNBUFFERED="1"), module, *arguments)
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.remove()
