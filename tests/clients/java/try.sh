#!/usr/bin/env bash
# Consumes a topic with Kafka's Java client and the CloudEvents SDK. Usage: try.sh BROKERS TOPIC
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for tool in java mvn; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: install a JDK 17 or later and Maven" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mvn --batch-mode --quiet --file "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/libs" >&2
java -cp "$work/libs/*" "$here/Consume.java" "$1" "$2"
