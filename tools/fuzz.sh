#!/usr/bin/env bash
# Runs every fuzz target of the module, each for the given time (10s if none is
# given), and fails with the first that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
found=0
while IFS=: read -r file func; do
  found=$((found + 1))
  echo "fuzz: $func in $(dirname "$file") for $time"
  go test -run '^$' -fuzz "^$func\$" -fuzztime "$time" "./$(dirname "$file")"
done < <(grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|^\./||; s/func //' | sort)
if [ "$found" = 0 ]; then
  echo "fuzz: no target found" >&2
  exit 1
fi
echo "fuzz: $found targets passed"
