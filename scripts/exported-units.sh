# How scripts/test-systemd.sh and scripts/test-vm.sh begin, which set where they run the exported units, and what programs that needs.
# Gives them target, devstack and wheel; or skips, which is a failure where CI is root.

skip() {
    echo "SKIPPED: the exported units were not run $where: $*" >&2
    [ "${CI:-}" = true ] && [ "$(id -u)" -eq 0 ] && exit 1
    exit 0
}
[ "$(id -u)" -eq 0 ] || skip "not root"
for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || skip "$program is missing"
done

target="$(cd "${CARGO_TARGET_DIR:-target}" && pwd)"
devstack="$target/debug/devstack"
[ -x "$devstack" ] || cargo build --locked --quiet
wheel="${DEVSTACK_WHEEL:?names the wheel of the worker library; scripts/test.sh builds one}"
