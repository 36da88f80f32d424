#!/usr/bin/env bash
# Consumes a topic with franz-go and the CloudEvents SDK. Usage: try.sh BROKERS TOPIC
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v go >/dev/null || { echo "go is missing: install Go 1.26 or later" >&2; exit 1; }

cd "$here"
GOFLAGS=-mod=readonly go run . "$1" "$2"
