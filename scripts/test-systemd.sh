#!/usr/bin/env bash
# The exported units under a real systemd as process 1, in a container: start, values, notify, watchdog, restart limit, memory, stop, journal.
# Needs root, systemd-nspawn and mmdebstrap (Debian: apt install systemd-container mmdebstrap) and the way to a Debian mirror; says SKIPPED
# without them. Leaves nothing but the container's files, which are kept in target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

where="under systemd"
programs=(systemd-nspawn mmdebstrap nsenter)
. scripts/exported-units.sh

root="$target/systemd-root"
if [ ! -e "$root/usr/lib/systemd/systemd" ]; then
    rm -rf "$root"
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,python3,procps bookworm "$root.new"
    mv "$root.new" "$root"
fi

# A group of its own in each hierarchy, so that the container's systemd writes nowhere else; the memory controller stays where it is.
groups=()
for hierarchy in /sys/fs/cgroup/{unified,systemd,pids,cpu,cpuacct}; do
    [ -e "$hierarchy/cgroup.procs" ] && groups+=("$hierarchy/devstack-test-$$")
done
[ "${#groups[@]}" -gt 0 ] || { [ -e /sys/fs/cgroup/cgroup.controllers ] && groups=("/sys/fs/cgroup/devstack-test-$$"); }
mkdir "${groups[@]}"

container=
pause() { read -rt 0.1 <> <(:) || true; }
lead() { pgrep -P "$container" | head -1; }
clean_up() {
    status=$?
    if [ -n "$container" ]; then
        # Its process 1 takes all of it along; the program that made it does not.
        kill -KILL "$(lead)" "$container" 2>/dev/null || true
        wait "$container" 2>/dev/null || true
        # Its processes end with it, one after the other.
        await_gone() { ! grep -rqs . --include=cgroup.procs "${groups[@]}"; }
        for _ in $(seq 100); do await_gone && break; pause; done
    fi
    for group in "${groups[@]}"; do
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
    exit "$status"
}
trap clean_up EXIT

# The project, as somebody would put it there.
rm -rf "$root/srv/shop" "$root"/etc/systemd/system/shop* "$root"/var/log/journal
mkdir -p "$root/srv/shop"
python3 -m zipfile -e "$wheel" "$root/srv/shop/library"
cat >"$root/srv/shop/worker.py" <<'PYTHON'
import os, sys, time
from devstack import ProcessManager

print("speaks 100 % plain:", sys.argv[1], os.environ["MODE"], flush=True)
with ProcessManager("web") as manager:
    while manager.should_continue():
        manager.heartbeat()
        if os.path.exists("/srv/shop/hang"):
            os.unlink("/srv/shop/hang")
            print("hangs", flush=True)
            time.sleep(600)
        manager.wait(0.2)
print("stops:", manager.shutdown_reason, flush=True)
PYTHON
cat >"$root/srv/shop/devstack.toml" <<'TOML'
[project]
name = "shop"
[defaults]
env = { PYTHONPATH = "/srv/shop/library", MODE = 'it is "100%" $HOME' }
[services.web]
command = ["/usr/bin/python3", "worker.py", 'a "quoted" 100% $HOME ü']
ready = { notify = true }
heartbeat_timeout = "2s"
max_runtime = "24h"
max_runtime_jitter = "10%"
memory_limit = "256MB"
cpu_limit = "80%"
restart = "always"
restart_delay = "100ms"
stop_timeout = "5s"
[services.crash]
command = ["/bin/false"]
restart = "always"
restart_delay = "10ms"
start_limit = { burst = 2, interval = "60s" }
TOML

# Two hundred odd values and arguments, which the process has to see as they were meant.
cat >"$root/srv/shop/values.py" <<'PYTHON'
import json, os, sys
seen = {"values": {key: value for key, value in os.environ.items() if key.startswith("VALUE_")}, "arguments": sys.argv[1:]}
with open("values.seen.new", "w") as file:
    json.dump(seen, file)
os.rename("values.seen.new", "values.seen")
PYTHON
python3 - "$root/srv/shop" <<'PYTHON'
import json, pathlib, random, sys
folder, dice = pathlib.Path(sys.argv[1]), random.Random(20)
odd = " \t\n\r\"'%$\\;#=,{}[]():&*!|><@`~-?/.+^_09anxNüß漢\u00a0\u0085\u2028😀\x01\x7f"
texts = ["".join(dice.choice(odd) for _ in range(dice.randrange(9))) for _ in range(200)]
toml = lambda text: '"' + "".join(f"\\u{ord(it):04x}" if ord(it) < 160 and (it in '"\\' or not it.isprintable()) else it for it in text) + '"'
values = {f"VALUE_{number}": text for number, text in enumerate(texts)}
(folder / "values.meant").write_text(json.dumps({"values": values, "arguments": texts}))
with open(folder / "devstack.toml", "a", encoding="utf-8", newline="") as file:
    arguments = ", ".join(map(toml, ["/usr/bin/python3", "values.py", *texts]))
    file.write(f"[services.values]\ncommand = [{arguments}]\nrestart = 'never'\n[services.values.env]\n")
    file.writelines(f"{key} = {toml(text)}\n" for key, text in values.items())
PYTHON

(
    for group in "${groups[@]}"; do echo "$BASHPID" >"$group/cgroup.procs"; done
    exec systemd-nspawn -q -D "$root" --register=no --keep-unit --private-network -b --console=pipe \
        --bind-ro="$devstack:/usr/local/bin/devstack" </dev/null >"$target/systemd-console.log" 2>&1
) &
container=$!

# Whoever asks waits for an event inside; only for the container to be there somebody has to look again.
await() {
    local what="$1"; shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        pause
    done
    echo "waited in vain: $what" >&2
    inside journalctl --no-pager -n 50 >&2 || true
    exit 1
}
inside() { nsenter -t "$(lead)" -a -- "$@"; }
boots() { [ -n "$(lead)" ] && inside systemctl is-system-running | grep -qE 'running|degraded'; }
await "systemd runs" boots

inside useradd --system --no-create-home shop 2>/dev/null || true
inside chown -R shop /srv/shop
inside devstack --project /srv/shop export systemd --out /etc/systemd/system
inside systemctl daemon-reload
inside systemctl start shop.target
shown() { inside systemctl show "$1" -p "$2" --value; }
is() { [ "$(shown "$1" "$2")" = "$3" ] || return 1; }
must_be() { is "$1" "$2" "$3" || { echo "$1: $2 is $(shown "$1" "$2"), not $3" >&2; exit 1; }; }

await "web is active, which it says itself" is shop-web.service ActiveState active
must_be shop-web.service Type notify
must_be shop-web.service WatchdogUSec 2s
must_be shop-web.service MemoryMax 335544320
must_be shop-web.service RuntimeRandomizedExtraUSec 2h\ 24min
must_be shop-web.service User shop
says() { inside journalctl --no-pager -o cat -u shop-web | grep -qF -- "$1"; }
says 'speaks 100 % plain: a "quoted" 100% $HOME ü it is "100%" $HOME' || { echo "an argument or a value did not survive" >&2; inside journalctl --no-pager -o cat -u shop-web >&2; exit 1; }
await "the values were seen" test -e "$root/srv/shop/values.seen"
python3 - "$root/srv/shop" <<'PYTHON'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
meant, seen = (json.loads((folder / name).read_text()) for name in ("values.meant", "values.seen"))
wrong = [(one, other) for one, other in zip(meant["arguments"], seen["arguments"]) if one != other]
wrong += [(value, seen["values"].get(key)) for key, value in meant["values"].items() if seen["values"].get(key) != value]
sys.exit(f"{len(wrong)} did not survive: {wrong[:5]}" if wrong or len(meant["arguments"]) != len(seen["arguments"]) else 0)
PYTHON
echo "started; arguments and values survive, 200 odd ones of each too"

journal() { inside journalctl --no-pager -o cat -u "$1"; }
given_up() { journal shop-crash | grep -q 'Start request repeated too quickly'; }
await "the restart limit holds" given_up
must_be shop-crash.service ActiveState failed
starts="$(journal shop-crash | grep -c 'Main process exited')"
[ "$starts" -eq 3 ] || { echo "burst = 2 allows 2 restarts, and there were $starts starts" >&2; exit 1; }
echo "restart limit: $starts starts in all, then failed"

before="$(shown shop-web.service MainPID)"
inside touch /srv/shop/hang
killed() { journal shop-web | grep -q 'Watchdog timeout'; }
await "the watchdog ends who hangs" killed
replaced() { is shop-web.service ActiveState active && [ "$(shown shop-web.service MainPID)" != "$before" ]; }
await "and another one is there" replaced
echo "watchdog: $(journal shop-web | grep -m1 'Watchdog timeout')"

inside systemctl stop shop.target
await "it stops with the target" is shop-web.service ActiveState inactive
says "stops: signal_SIGTERM" || { echo "it was not asked to stop" >&2; exit 1; }
must_be shop-web.service Result success
[ -z "$(inside pgrep -u shop || true)" ] || { echo "something of it is left" >&2; exit 1; }
echo "stopped; nothing is left"
inside systemctl poweroff || true
wait "$container" || true
container=
echo "systemd: everything as exported"
