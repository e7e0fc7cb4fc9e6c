"""Deaf to the stop, and faster than anybody who looks."""
import os, signal, time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", flush=True)
while not os.path.exists("go"):
    time.sleep(0.05)
kept = b"x" * (600 << 20)
time.sleep(3600)
