"""A worker that does what its arguments say, in their order, and then waits: `worker.py NAME [ACTION [ARGUMENT]]…`.

Told to stop, it says so and ends with status 0. Whatever it starts is noted in `noted/NAME-ACTION`, one pid a line.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

slowness = 0.0
name = sys.argv[1] if len(sys.argv) > 1 else ""


def say(*words):
    # One write, so that lines of several processes do not mix.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def stop(*_):
    say(name, "stopping", time.monotonic_ns())
    time.sleep(slowness)
    say(name, "stopped", time.monotonic_ns())
    os._exit(0)


def note(action, lines):
    os.makedirs("noted", exist_ok=True)
    path = f"noted/{name}-{action}"
    with open(path + ".new", "w") as file:
        file.write("".join(f"{line}\n" for line in lines))
    os.rename(path + ".new", path)


def listen(port):
    server = socket.create_server(("127.0.0.1", port), backlog=64)
    return server


def serve(server, answer):
    def forever():
        while True:
            connection, _ = server.accept()
            answer(connection)

    threading.Thread(target=forever, daemon=True).start()


def answer_http(connection):
    """With the status that stands in `answer-NAME`, 200 without that file; `hang`: not at all."""
    try:
        with open(f"answer-{name}") as file:
            status = file.read().strip()
    except OSError:
        status = "200"
    if status == "hang":
        globals().setdefault("kept", []).append(connection)
        return
    body = '{"status":"x","reason":"%s"}' % ("healthy" if status == "200" else f"said_{status}")
    connection.recv(4096)
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.sendall((head + body).encode())
    connection.close()


def daemonise():
    """A grandchild in a session of its own that heeds no SIGTERM."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note("daemon", [os.getpid()])
            time.sleep(600)
        os._exit(0)
    os.wait()


def go_to_the_background():
    """A daemon of the old kind: it detaches itself, and the process that was started ends well."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        note("background", [os.getpid()])
        time.sleep(600)
    wait_for_file(f"noted/{name}-background")
    os._exit(0)


def untied():
    """A process with no tie left: no parent, session, environment or output of ours."""
    line = "trap '' TERM; echo $$ >untied.new; mv untied.new untied.tmp; exec sleep 600"
    if os.path.exists("untied.tmp"):
        os.unlink("untied.tmp")
    if os.fork() == 0:
        os.setsid()
        nowhere = subprocess.DEVNULL
        subprocess.Popen(["/bin/sh", "-c", line], env={"PATH": os.defpath}, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
        os._exit(0)
    os.wait()
    while not os.path.exists("untied.tmp"):
        time.sleep(0.01)
    with open("untied.tmp") as file:
        note("untied", [int(file.read())])


def wiped():
    """A process without our environment, in a session of its own; only its output still tells whose it is."""
    program = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    child = subprocess.Popen(program, env={}, cwd="/", start_new_session=True)
    note("wiped", [child.pid])


def hop(count):
    """Processes that fork and leave, each child in a session of its own: never the same ones twice."""
    # Whatever goes wrong in a test, they do not hop for ever.
    until = time.monotonic() + 60
    for _ in range(count):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while time.monotonic() < until:
                if os.fork() == 0:
                    os.setsid()
                    continue
                os._exit(0)
            os._exit(0)
    note("hop", [os.getpid()])


def fork_when_told_to_stop():
    """A child that answers SIGTERM with two more of its kind, and goes on."""
    def more(*_):
        for _ in range(2):
            if os.fork() == 0:
                os.setsid()
                return

    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, more)
        note("forking", [os.getpid()])
        while True:
            signal.pause()


def stopped_child():
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)
    os.waitpid(child, os.WUNTRACED)
    note("stopped-child", [child])


def other_user():
    """As `sudo -u` would: another user's process, in a session of its own, with nothing of our environment or output."""
    nowhere = subprocess.DEVNULL
    child = subprocess.Popen(["sleep", "600"], env={"PATH": os.defpath}, cwd="/", user=65534, group=65534, extra_groups=[], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    note("other-user", [child.pid])


def disguise():
    """What setproctitle does: the kernel's view of the environment is overwritten."""
    import ctypes

    fields = open("/proc/self/stat").read().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    ctypes.memset(start, 0, end - start)


def pool_worker(queue, lock):
    queue.put(os.getpid())
    time.sleep(600)


def pool():
    """Two spawned processes, a lock and so a resource tracker; the last line is the lock's file."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    queue, lock = context.Queue(), context.Lock()
    children = [context.Process(target=pool_worker, args=(queue, lock)) for _ in range(2)]
    for child in children:
        child.start()
    globals()["kept_pool"] = (queue, lock, children)
    pids = [queue.get() for _ in children]
    from multiprocessing.resource_tracker import _resource_tracker

    note("pool", [*pids, _resource_tracker._pid, "/dev/shm/sem." + lock._semlock.name[1:]])


def wait_for_file(path):
    while not os.path.exists(path):
        time.sleep(0.005)


def main():
    global slowness
    signal.signal(signal.SIGTERM, stop)
    words = iter(sys.argv[2:])
    said = False
    for action in words:
        if action == "say":
            say(next(words))
        elif action == "raw":
            os.write(1, next(words).encode().decode("unicode_escape").encode())
        elif action == "env":
            key = next(words)
            say(key, "=", os.environ.get(key))
        elif action == "sleep":
            time.sleep(float(next(words)))
        elif action == "await":
            wait_for_file(next(words))
        elif action == "port":
            serve(listen(int(next(words))), lambda connection: connection.close())
        elif action == "http":
            serve(listen(int(next(words))), answer_http)
        elif action == "exit":
            os._exit(int(next(words)))
        elif action == "ignore-term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif action == "ignore-hangup":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        elif action == "slow-term":
            slowness = float(next(words))
        elif action == "daemon":
            daemonise()
        elif action == "untied":
            untied()
        elif action == "wiped":
            wiped()
        elif action == "background":
            go_to_the_background()
        elif action == "sh":
            subprocess.run(next(words), shell=True, check=True)
        elif action == "hop":
            hop(int(next(words)))
        elif action == "fork-when-told-to-stop":
            fork_when_told_to_stop()
        elif action == "stopped-child":
            stopped_child()
        elif action == "other-user":
            other_user()
        elif action == "disguise":
            disguise()
        elif action == "pool":
            pool()
        elif action == "started":
            said = True
            say(name, "started", time.monotonic_ns())
        else:
            sys.exit(f"worker.py: no such action: {action}")
    if not said:
        say(name, "started", time.monotonic_ns())
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
