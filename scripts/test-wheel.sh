#!/usr/bin/env bash
# The tests of the worker library against a built wheel: scripts/test-wheel.sh WHEEL
# On the oldest and the newest CPython from 3.9 on that this machine has, in PATH or in pyenv.
set -euo pipefail
wheel="$(realpath "$1")"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kept="${CARGO_TARGET_DIR:-target}"

# A line each, "3.9.18 /path", oldest first. What a shim only promises does not answer.
interpreters() {
    local path
    for path in $(compgen -c python3 | grep -E '^python3(\.[0-9]+)?$' | sort -u | xargs -I{} which -a {} 2>/dev/null) "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
        "$path" - 2>/dev/null <<'ASK' || true
import platform, sys
import ensurepip, venv
if platform.python_implementation() == "CPython" and sys.version_info >= (3, 9) and sys.prefix == sys.base_prefix:
    print(platform.python_version(), sys.executable)
ASK
    done | sort -u -V
}

found="$(interpreters)"
{ head -n 1 <<<"$found"; tail -n 1 <<<"$found"; } | uniq | while read -r version path; do
    printf '\n-- CPython %s\n' "$version"
    python="$kept/python-$version"
    if ! "$python/bin/python" -c 'import psutil, pytest' 2>/dev/null; then
        rm -rf "$python"
        "$path" -m venv "$python"
        "$python/bin/python" -m pip install --quiet --disable-pip-version-check --no-input 'psutil>=5,<8' 'pytest>=8,<10'
    fi
    python="$(realpath "$python")/bin/python"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input --force-reinstall --no-deps "$wheel"
    # Somewhere else than in python/, whose sources without the library would be found first.
    (cd python/tests && "$python" -m pytest -p no:cacheprovider --rootdir .. . </dev/null)
done
