"""Hangs, eats or has a pool, as its argument says."""
import multiprocessing, os, signal, sys, time

from devstack import ProcessManager


def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def main(what):
    with ProcessManager(what) as manager:
        if what in ("pool", "loose"):
            children = [multiprocessing.get_context("spawn").Process(target=deaf, daemon=False) for _ in range(2)]
            for child in children:
                child.start()
            print("has", *(child.pid for child in children), flush=True)
        kept = []
        while manager.should_continue():
            manager.heartbeat()
            if os.path.exists(f"{what}.go"):
                os.unlink(f"{what}.go")
                if what == "hangs":
                    time.sleep(3600)
                while True:
                    kept.append(b"x" * (1 << 20))
            manager.wait(0.2)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
