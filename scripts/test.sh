#!/usr/bin/env bash
# All tests, from a clean clone: form, lints, Rust (unit, property, integration, documentation), chaos and restarts, Python (the worker
# library's wheel, and the demo). Needs Rust with clippy and rustfmt, Python 3.9 or newer with venv, and the way to PyPI for maturin and pytest. With
# Prometheus, its Alertmanager, systemd-nspawn and mmdebstrap (Debian: apt install prometheus prometheus-alertmanager systemd-container mmdebstrap)
# the real ones are asked, with npm the types of Grafana; without them those tests say SKIPPED.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*"; }

if ! command -v cargo >/dev/null; then
    echo "scripts/test.sh: cargo is not in PATH; see https://rustup.rs" >&2
    exit 1
fi
for component in fmt clippy; do
    if ! cargo "$component" --version >/dev/null 2>&1; then
        echo "scripts/test.sh: cargo $component is missing: rustup component add clippy rustfmt" >&2
        exit 1
    fi
done

step "form"
cargo fmt --check
echo "formatted"

step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings
cargo clippy --locked --no-default-features --lib -- -D warnings

step "the wheel of the worker library"
python="${CARGO_TARGET_DIR:-target}/python"
if ! "$python/bin/python" -c 'import maturin, mypy, psutil, pytest, uvicorn' 2>/dev/null; then
    rm -rf "$python"
    if ! python3 -m venv "$python"; then
        echo "scripts/test.sh: python3 cannot make a virtual environment (on Debian: apt install python3-venv)" >&2
        exit 1
    fi
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        'maturin>=1.9,<2' 'mypy>=2,<3' 'psutil>=5,<8' 'pytest>=8,<10' --requirement examples/analyticbot/requirements.txt
fi
python="$(cd "$python" && pwd)/bin/python"
wheels="$(mktemp -d)"
trap 'rm -rf "$wheels"' EXIT
"$python" -m maturin build --quiet --release --locked --manifest-path python/Cargo.toml --out "$wheels"
export DEVSTACK_WHEEL
DEVSTACK_WHEEL="$(ls "$wheels"/devstack-*.whl)"
"$python" -m pip install --quiet --disable-pip-version-check --no-input --force-reinstall --no-deps "$DEVSTACK_WHEEL"
echo "$(basename "$DEVSTACK_WHEEL"), $(stat -c %s "$DEVSTACK_WHEEL") bytes"

step "Rust tests"
# The same cases every time, so that a red run means a changed program. The search for new ones is a command of its own:
# PROPTEST_CASES=20000 cargo test --lib properties
export PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-20}"
cargo test --locked --no-fail-fast </dev/null

step "the exported units under a real systemd"
scripts/test-systemd.sh </dev/null

step "the exported dashboard by Grafana's types"
scripts/test-dashboard.sh </dev/null

step "chaos and restarts, the short forms"
# Beside the devstack that the tests have built.
cargo run --locked --quiet --example chaos -- --seconds 30 </dev/null
cargo run --locked --quiet --example restarts -- --count 50 </dev/null

step "Python tests of the worker library, its types, and the tests of the demo"
# Somewhere else than in python/, whose sources without the library would be found first.
(cd python/tests && "$python" -m mypy.stubtest devstack)
scripts/test-wheel.sh "$DEVSTACK_WHEEL"
(cd examples/analyticbot && "$python" -m pytest -p no:cacheprovider tests </dev/null)

step "all tests passed"
