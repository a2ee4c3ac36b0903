#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs Spin over the model of the flow table's protocol (table.pml): every scene must hold, and every deliberate mistake
# must be found. Works in a temporary directory. Exit: 0 all as expected, 1 not, 77 no spin on this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v spin >/dev/null || { echo "tests/model/run.sh: SKIPPED: spin is not installed (scripts/deps)" >&2; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# Names in table.pml that are compared with VARIANT and BROKEN.
names=(-DCLAIM=1 -DDISPLACE=2 -DRIVALS=3 -DREPLACE=4 -DEVICT=5 -DRECYCLE=6 -DCRASH=7
       -DNONE_BROKEN=0 -DNO_LOCK=1 -DFREE_FIRST=2 -DNO_CHECK=3 -DTOUCH_STORE=4 -DNO_DEDUPE=5)
failed=0

# check VERDICT SCENE MISTAKE [spin's -D...]
check() {
  local want=$1 scene=$2 broken=$3 out states errors got
  shift 3
  rm -f pan pan.* ./*.trail
  spin "${names[@]}" "-DVARIANT=$scene" "-DBROKEN=$broken" "$@" -a "$here/table.pml" >spin.out 2>&1 ||
    { head -5 spin.out; echo "FAIL  $scene $broken $*: spin refused the model"; failed=1; return; }
  gcc -O1 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=3500 pan.c -o pan
  out=$(timeout 40 ./pan -m200000 2>&1) || true
  states=$(awk '/states, stored/ {print $1}' <<<"$out")
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' <<<"$out")
  got=holds
  [ "${errors:-}" = 0 ] || got=fails
  [ -n "$errors" ] || got=unfinished   # out of time
  if grep -q 'Search not completed\|max search depth too small\|out of memory' <<<"$out" && [ "$got" = holds ]; then got=unfinished; fi
  printf '%-5s %-9s mistake: %-12s %-28s %10s states  %s\n' "$([ "$got" = "$want" ] && echo ok || echo FAIL)" \
    "$scene" "${broken/NONE_BROKEN/none}" "$*" "${states:-?}" "$got$(sed -n 's/^pan:1: /: /p' <<<"$out" | cut -c1-60)"
  [ "$got" = "$want" ] || { failed=1; grep -v '^$' <<<"$out" | tail -12; }
}

check holds CLAIM    NONE_BROKEN -DTWO_BUCKETS
check holds DISPLACE NONE_BROKEN
check holds DISPLACE NONE_BROKEN -DSHARED_LOCK
check holds RIVALS   NONE_BROKEN
check holds REPLACE  NONE_BROKEN
check holds EVICT    NONE_BROKEN -DTWO_BUCKETS
check holds RECYCLE  NONE_BROKEN -DTWO_BUCKETS
check holds CRASH    NONE_BROKEN

check fails CLAIM    NO_LOCK     -DTWO_BUCKETS
check fails RIVALS   FREE_FIRST
check fails RECYCLE  NO_CHECK    -DTWO_BUCKETS
check fails RECYCLE  TOUCH_STORE -DTWO_BUCKETS
check fails CRASH    NO_DEDUPE
exit $failed
