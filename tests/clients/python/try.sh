#!/usr/bin/env bash
# Consumes a topic with confluent-kafka and the CloudEvents SDK. Usage: try.sh BROKERS TOPIC
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$(command -v python3) || { echo "python3 is missing: install Python 3.10 or later with its venv (python3-venv)" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2
"$work/venv/bin/python" "$here/consume.py" "$1" "$2"
