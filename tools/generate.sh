#!/usr/bin/env bash
# Generates the Go code of api/circuit/v1, or with --check reports whether what
# is there is what would be generated. Needs protoc (Debian: protobuf-compiler
# and libprotobuf-dev); the plugins are those pinned in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
out=.
if [ "${1:-}" = --check ]; then
  out=$tmp/out
  mkdir "$out"
fi

(cd tools && GOBIN="$tmp/bin" go install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc)
PATH="$tmp/bin:$PATH" protoc -I api \
  --go_out="$out" --go_opt=module=github.com/gocircuit/circuit \
  --go-grpc_out="$out" --go-grpc_opt=module=github.com/gocircuit/circuit \
  api/circuit/v1/*.proto

if [ "$out" != . ]; then
  # The version of protoc itself stands in a comment and does not matter.
  if ! diff -ru -x '*.proto' -x doc.go -I '^//.*protoc *v[0-9]' "$out/api/circuit/v1" api/circuit/v1; then
    echo "api/circuit/v1 is not what its .proto files say; run make generate" >&2
    exit 1
  fi
fi
