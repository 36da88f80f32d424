#!/usr/bin/env bash
# Makes a client from /openapi.json of a running sidecar with public generators, and uses it. Usage: try.sh [BASE_URL]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
base=${1:-http://127.0.0.1:3600}
command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or later" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/try.ts" "$here/tsconfig.json" "$work"
cd "$work"
npm install --no-audit --no-fund --no-package-lock --silent
curl --fail --silent --show-error "$base/openapi.json" >openapi.json
npx --no-install redocly lint --extends recommended-strict openapi.json
npx --no-install openapi-typescript openapi.json --default-non-nullable=false --output schema.ts
npx --no-install tsc
node try.js "$base"
