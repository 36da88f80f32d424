#!/usr/bin/env bash
# Asks a running sidecar what its /openapi.json allows and what it does not, with Schemathesis. Usage: try.sh [BASE_URL]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
base=${1:-http://127.0.0.1:3600}
python=$(command -v python3) || { echo "python3 is missing: install Python 3.11 or later with its venv (python3-venv)" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed, here is $("$python" --version)" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$here/requirements.txt"
cp "$here/hooks.py" "$here/schemathesis.toml" "$work"
cd "$work"
# The seed makes a failure come again; the time bounds what is generated beside the examples and the borders of each value. Any seed should do.
SCHEMATHESIS_HOOKS=hooks venv/bin/schemathesis run "$base/openapi.json" --seed "${SEED:-1}" --max-time "${SECONDS_OF_TRYING:-60}"
