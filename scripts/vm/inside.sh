#!/bin/bash
# Runs in the virtual machine of scripts/test-vm.sh, as root and by systemd.
set -euo pipefail
export XDG_RUNTIME_DIR=/run HOME=/root
install /srv/devstack /usr/local/bin/devstack

pause() { read -rt 0.1 <> <(:) || true; }
fail() { echo "FAILED: $*"; journalctl --no-pager -o cat -n 30 -u 'shop-*'; exit 1; }
await() {
    local what="$1"; shift
    for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; pause; done
    fail "waited in vain: $what"
}
shown() { systemctl show "$1.service" -p "$2" --value; }
is() { [ "$(shown "$1" "$2")" = "$3" ]; }
says() { journalctl --no-pager -o cat -u "$1.service" | grep -q -- "$2"; }
group() { echo "/sys/fs/cgroup$(shown "$1" ControlGroup)"; }
# Whether it was started again, once, and is up.
is_back() { is "$1" ActiveState active && is "$1" NRestarts 1; }
misbehaves_and_is_replaced() {
    touch "/srv/shop/$1.go"
    await "$1 ends with $2" says "shop-$1" "Failed with result '$2'"
    await "and another one is there" is_back "shop-$1"
}
file_is() { [ "$(cat "$(group "$1")/$2")" = "$3" ] || fail "$2 of $1 is $(cat "$(group "$1")/$2"), not $3"; }

echo "cgroup v2 with: $(cat /sys/fs/cgroup/cgroup.controllers)"
useradd --system --no-create-home shop
chown -R shop /srv/shop
devstack --project /srv/shop export systemd --out /etc/systemd/system >/dev/null 2>&1
systemctl daemon-reload
systemctl start shop.target
for service in eats hangs pool loose; do await "$service is up" is "shop-$service" ActiveState active; done

file_is shop-eats memory.high $((64 << 20))
file_is shop-eats memory.max $((80 << 20))
file_is shop-eats cpu.max "80000 100000"
file_is shop-eats pids.max "$(shown shop-eats TasksMax)"
echo "limits in the kernel's files: as exported"

misbehaves_and_is_replaced hangs watchdog
echo "watchdog: restarted"

children() { journalctl --no-pager -o cat -u "shop-$1.service" | sed -n 's/^has //p' | tr ' ' '\n'; }
alive() { for pid in $(children "$1"); do [ ! -e "/proc/$pid" ] || echo "$pid"; done; }
for service in pool loose; do
    [ "$(children "$service" | wc -l)" -eq 2 ] || fail "$service has no pool"
    systemctl stop "shop-$service.service"
done
[ -z "$(alive pool)" ] || fail "the pool outlives its worker"
# Without it, the look above could have been blind.
[ "$(alive loose | wc -l)" -eq 2 ] || fail "with kill_mode = \"process\" the pool goes too"
kill -KILL $(alive loose)
echo "stop: nothing of a pool is left by mixed, two processes by process"

limited() {
    local place="$1" pid group
    pid="$(devstack --project /srv/alone status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["services"][0]["pid"])')"
    group="/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")"
    echo "devstack $place: ${group#/sys/fs/cgroup}, memory.max $(cat "$group/memory.max" 2>&1)"
    [ "$(cat "$group/memory.max" 2>/dev/null)" = $((150 << 20)) ] || fail "no memory.max $place"
    touch /srv/alone/go
    ended() { devstack --project /srv/alone why web --json | grep -q memory_limit_exceeded; }
    await "it is over its limit" ended
    devstack --project /srv/alone why web | cat
    devstack --project /srv/alone stop --supervisor >/dev/null
    rm /srv/alone/go
}
(echo "$BASHPID" >/sys/fs/cgroup/cgroup.procs; exec devstack --project /srv/alone start)
limited "in the group of the machine"

misbehaves_and_is_replaced eats oom-kill
echo "memory: $(journalctl --no-pager -o cat -u shop-eats.service | grep -m1 oom-kill); restarted"

systemctl stop shop.target
echo "virtual machine: everything as exported"
