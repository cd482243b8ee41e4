#!/usr/bin/env bash
# Generates the Go code of api/circuit/v1. Needs protoc (Debian: protobuf-compiler
# and libprotobuf-dev); the plugins are those pinned in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd tools && GOBIN="$bin" go install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc)
PATH="$bin:$PATH" protoc -I api \
  --go_out=. --go_opt=module=github.com/gocircuit/circuit \
  --go-grpc_out=. --go-grpc_opt=module=github.com/gocircuit/circuit \
  api/circuit/v1/*.proto
