#!/usr/bin/env python3
"""What it costs a worker that devstack rotates its log: the same worker, beside a plain redirect, in turn.

    cargo build --release && python3 benches/log_throughput.py [--rounds 7] [--megabytes 1024] [--folder /tmp]

Prints the median of both in seconds, their ratio, and the processor time that devstack itself took.
"""

import argparse
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Times itself from its first byte to its last, and waits.
WORKER = """
import os, signal, sys, time
count = int(sys.argv[1])
line = b"x" * 99 + b"\\n"
block = (line * 82)[:8192 - 8192 % 100] + b"y" * (8192 % 100 - 1) + b"\\n"
begun = time.monotonic()
for _ in range(count):
    os.write(1, block)
open(sys.argv[2] + ".new", "w").write(str(time.monotonic() - begun))
os.rename(sys.argv[2] + ".new", sys.argv[2])
signal.pause()
"""

# Numbered lines, 200 a write, as quickly as Python makes them.
NUMBERED = """
import os, signal, sys, time
wanted = int(sys.argv[1]) * 8192
begun = time.monotonic()
number = written = 0
while written < wanted:
    lines = "".join(f"{n} {'x' * (n * 7 % 90)}\\n" for n in range(number, number + 200)).encode()
    written += os.write(1, lines)
    number += 200
open(sys.argv[2] + ".new", "w").write(str(time.monotonic() - begun))
os.rename(sys.argv[2] + ".new", sys.argv[2])
signal.pause()
"""

CONFIG = """
[services.writer]
command = [{python!r}, "worker.py", "{count}", "took"]
ready = {{ delay = "0s" }}
log_rotate = {{ size = "{size}", keep = 1000 }}
"""


def wait_for(file, process):
    while not file.exists():
        process.poll()
        time.sleep(0.01)
    took = float(file.read_text())
    file.unlink()
    return took


def redirect(folder, count):
    with open(folder / "plain.log", "ab") as log:
        process = subprocess.Popen([sys.executable, "worker.py", str(count), "took"], cwd=folder, stdout=log)
    try:
        return wait_for(folder / "took", process)
    finally:
        process.kill()
        process.wait()
        (folder / "plain.log").unlink()


def processor_time(pid):
    """Of it and of the children that it has waited for, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def supervised(folder, devstack, environment):
    run = lambda *words: subprocess.run([devstack, *words], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    begun = subprocess.Popen([devstack, "start"], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        took = wait_for(folder / "took", begun)
        begun.wait()
        status = run("status", "--json").stdout
        pid = int(status.split('"supervisor":')[1].split('"pid":')[1].split(",")[0])
        return took, processor_time(pid)
    finally:
        begun.wait()
        run("stop", "--supervisor", "--kill")
        logs = list((folder / "logs").iterdir())
        print(f"  {len(logs) - 1} old logs")
        for log in logs:
            log.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--size", default="50MB", help="from which on the log is rotated")
    parser.add_argument("--numbered", action="store_true", help="numbered lines, as quickly as Python makes them, instead of blocks of 8 KiB")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="on whose file system")
    arguments = parser.parse_args()
    devstack = ROOT / "target/release/devstack"
    count = arguments.megabytes * 1024 * 1024 // 8192
    with tempfile.TemporaryDirectory(prefix="devstack-bench-", dir=arguments.folder) as base:
        base = pathlib.Path(base)
        folder = base / "project"
        folder.mkdir()
        (folder / "worker.py").write_text(NUMBERED if arguments.numbered else WORKER)
        (folder / "devstack.toml").write_text(CONFIG.format(python=sys.executable, count=count, size=arguments.size))
        environment = {**os.environ, "XDG_STATE_HOME": str(base / "state"), "XDG_RUNTIME_DIR": str(base / "runtime")}
        for name in ("state", "runtime"):
            (base / name).mkdir(mode=0o700)
        plain, rotated, own = [], [], []
        for number in range(arguments.rounds):
            os.sync()
            plain.append(redirect(folder, count))
            os.sync()
            took, processor = supervised(folder, devstack, environment)
            rotated.append(took)
            own.append(processor)
            print(f"round {number + 1}: plain {plain[-1]:.3f} s, rotated {rotated[-1]:.3f} s, devstack's own processor time {own[-1]:.2f} s")
    one, other = statistics.median(plain), statistics.median(rotated)
    kind = "numbered lines" if arguments.numbered else "8 KiB writes"
    print(f"{arguments.megabytes} MB in {kind}: plain {one:.3f} s, under devstack {other:.3f} s, throughput {one / other:.3f} of plain")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
