import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from devstack import ProcessManager


# How a program of a worker begins.
START = """
import asyncio, logging, os, signal, sys, time
from devstack import ProcessManager
logging.basicConfig()
manager = ProcessManager("worker")
"""


@pytest.fixture
def manager():
    """One that runs, and is at its end after the test."""
    manager = ProcessManager("worker")
    manager.start()
    yield manager
    manager.shutdown()


def get(port, path, accept="*/*"):
    """The status, and the body as JSON where it is that."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, body = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode()
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body


class Program:
    """A Python program in a process of its own, which ends with the test."""

    def __init__(self, text, folder, **environment):
        path = pathlib.Path(folder) / "program.py"
        path.write_text(text)
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def send(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def end(self):
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def program(tmp_path):
    """Begins a program; all of them end with the test."""
    begun = []

    def begin(text, **environment):
        begun.append(Program(text, tmp_path, **environment))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()
