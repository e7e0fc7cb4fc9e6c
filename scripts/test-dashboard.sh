#!/usr/bin/env bash
# The exported dashboard, judged by the types that Grafana publishes (@grafana/schema, by tsc): scripts/test-dashboard.sh
# And a spoilt one, which must be refused. Needs npm and the way to its registry; without npm it says SKIPPED.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v npm >/dev/null; then
    echo "SKIPPED: npm is missing, so the dashboard was not judged by Grafana's types" >&2
    [ -z "${CI:-}" ]
    exit
fi

place="${CARGO_TARGET_DIR:-target}/dashboard"
mkdir -p "$place"
cp scripts/dashboard/*.json "$place"
cargo run --locked --quiet -- export grafana --out "$place/out" 2>/dev/null
cd "$place"
npm ci --silent --no-audit --no-fund

judge() {
    { echo 'import type { Dashboard } from "@grafana/schema";'; echo "export const dashboard: Dashboard = $(cat "$1");"; } >dashboard.ts
    npx --no-install tsc -p .
}

judge out/dashboards/analyticbot.json
python3 - <<'SPOIL'
import json, pathlib
dashboard = json.loads(pathlib.Path("out/dashboards/analyticbot.json").read_text())
dashboard["panels"][0]["gridPos"]["w"] = "half of it"
pathlib.Path("spoilt.json").write_text(json.dumps(dashboard))
SPOIL
if judge spoilt.json >/dev/null; then
    echo "a dashboard with a width that is no number was not refused: the types judge nothing" >&2
    exit 1
fi
echo "the dashboard is one by @grafana/schema $(node -p 'require("@grafana/schema/package.json").version'), and a spoilt one is refused"
