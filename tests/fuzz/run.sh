#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the fuzz target in a temporary directory and runs it for a bounded time: tests/fuzz/run.sh [SECONDS, 20 if left out]
# Exit: 0 nothing found, 1 a finding (printed, with the input in base64), 2 usage, 77 clang or scapy is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-20}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "usage: tests/fuzz/run.sh [SECONDS]   (found '$seconds', expected a whole number from 1)" >&2; exit 2; }
clang=$(command -v clang++-14) || { echo "tests/fuzz/run.sh: SKIPPED: clang++-14 is not installed (scripts/deps)" >&2; exit 77; }
/usr/bin/python3 -c 'import scapy' 2>/dev/null || { echo "tests/fuzz/run.sh: SKIPPED: python3-scapy is not installed (scripts/deps)" >&2; exit 77; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
"$clang" -std=c++20 -O1 -g -Wall -Wextra -Wpedantic -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
  -I"$here/../../include" "$here/parse_fuzz.cc" -o parse_fuzz
/usr/bin/python3 "$here/seeds.py" corpus
if ! ./parse_fuzz -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=1600 -print_final_stats=1 -verbosity=1 corpus >log 2>&1; then
  grep -v '^#' log | tail -60
  for input in crash-* timeout-* oom-*; do [ -e "$input" ] && { echo "input $input:"; base64 "$input"; }; done
  echo "tests/fuzz/run.sh: found something" >&2
  exit 1
fi
echo "parse_fuzz: $(sed -n 's/stat::number_of_executed_units: *//p' log) inputs in $seconds s, $(sed -n 's/.*cov: \([0-9]*\).*/\1/p' log | tail -1) edges, nothing found"
