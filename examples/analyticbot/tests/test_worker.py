import contextlib
import os
import signal
import socket

from conftest import PATIENCE_SECONDS, eventually, fetch, free_port, message

from apps.shared import store

WORKER = "apps.mtproto.worker"
CYCLE_DONE = "boats: 1 messages"


def stored(database):
    with contextlib.closing(store.connect_read_only(database)) as connection:
        return {row["channel"]: row for row in store.load(connection)}


def assert_nothing_stays(worker, semaphores):
    eventually(lambda: not worker.members(), seconds=2)
    assert [file for file in semaphores if file.exists()] == []


def test_once_stores_every_channel(run, data, database):
    worker = run(WORKER, "--once")
    assert worker.process.wait(PATIENCE_SECONDS) == 0, worker.log
    rows = stored(database)
    assert list(rows) == ["birds", "boats"]
    assert (rows["birds"]["messages"], rows["birds"]["authors"], rows["birds"]["views"]) == (2, 2, 200)
    assert rows["birds"]["top_words"] == [["herons", 2], ["nest", 2]]
    eventually(lambda: not worker.members(), seconds=2)


def test_once_collects_one_user_and_knows_whether_anything_changed(run, data, database):
    for _ in range(2):
        assert run(WORKER, "--once", "--user-id", 2).process.wait(PATIENCE_SECONDS) == 0
    assert list(stored(database)) == ["boats"]
    assert stored(database)["boats"]["revision"] == 1
    with open(data / "boats.jsonl", "a") as file:
        file.write(message())
    assert run(WORKER, "--once", "--user-id", 2).process.wait(PATIENCE_SECONDS) == 0
    assert stored(database)["boats"]["revision"] == 2


def test_an_unknown_user_and_a_missing_file_are_told(run, data, database):
    worker = run(WORKER, "--once", "--user-id", 3)
    assert worker.process.wait(PATIENCE_SECONDS) == 2
    assert "no channel belongs to user 3" in worker.log

    (data / "birds.jsonl").unlink()
    worker = run(WORKER, "--once")
    assert worker.process.wait(PATIENCE_SECONDS) == 1
    assert "birds: cannot read messages" in worker.log
    assert list(stored(database)) == ["boats"]


def test_asleep_between_cycles_it_is_healthy_and_leaves_cleanly(run, data):
    port = free_port()
    worker = run(WORKER, "--health-port", port)
    worker.wait_for_log(CYCLE_DONE)
    assert fetch(port, "/health")[0] == 200
    assert fetch(port, "/ready")[1]["ready"] is True
    metrics = fetch(port, "/metrics")[1]
    assert metrics["metrics"]["pid"] == worker.process.pid
    assert metrics["metrics"]["name"] == "mtproto_worker_all"
    assert metrics["limits"] == {"max_runtime_hours": 24, "memory_limit_mb": 2048, "cpu_limit_percent": 80}
    semaphores = worker.semaphores()
    assert worker.pool()

    status, seconds = worker.terminate()
    assert status == 0 and seconds < 2
    assert "stopping: signal_SIGTERM" in worker.log
    assert_nothing_stays(worker, semaphores)


def test_a_signal_amid_cycles_leaves_nothing_either(run, data):
    worker = run(WORKER, "--health-port", 0, "--interval", 0, "--cpu-limit", 0)
    worker.wait_for_log(CYCLE_DONE, times=5)
    semaphores = worker.semaphores()
    status, seconds = worker.terminate()
    assert status == 0 and seconds < 2
    assert "Traceback" not in worker.log
    assert_nothing_stays(worker, semaphores)


def test_a_pool_process_that_hangs_does_not_hold_up_the_end(run, data):
    worker = run(WORKER, "--health-port", 0)
    worker.wait_for_log(CYCLE_DONE)
    semaphores = worker.semaphores()
    for pid in worker.pool():
        os.kill(pid, signal.SIGSTOP)
    status, seconds = worker.terminate()
    assert status == 0 and seconds < 2
    assert_nothing_stays(worker, semaphores)


def test_a_killed_pool_is_replaced(run, data):
    worker = run(WORKER, "--health-port", 0, "--interval", 0.005)
    worker.wait_for_log(CYCLE_DONE)
    semaphores = worker.semaphores()
    for pid in worker.pool():
        os.kill(pid, signal.SIGKILL)
    worker.wait_for_log("starting a new pool")
    already = worker.log.count(CYCLE_DONE)
    worker.wait_for_log(CYCLE_DONE, times=already + 1)
    semaphores |= worker.semaphores()
    assert worker.terminate()[0] == 0
    assert_nothing_stays(worker, semaphores)


def test_a_taken_health_port_is_told(run, data):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = run(WORKER, "--health-port", port)
        assert worker.process.wait(PATIENCE_SECONDS) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in worker.log
