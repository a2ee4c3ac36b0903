#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs Spin over the models of the flow table's protocol (table.pml) and of settled services (settled.pml): every scene
# must hold, and every deliberate mistake must be found. Works in a temporary directory. Exit: 0 all as expected, 1 not,
# 77 no spin on this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v spin >/dev/null || { echo "tests/model/run.sh: SKIPPED: spin is not installed (scripts/deps)" >&2; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# Names in the models that are compared with VARIANT and BROKEN.
names=(-DCLAIM=1 -DDISPLACE=2 -DRIVALS=3 -DREPLACE=4 -DEVICT=5 -DRECYCLE=6 -DCRASH=7
       -DCUTOVER=8 -DTWICE=9 -DMEMBERS=10 -DAGE=11 -DHINDER=12 -DFINISH=13
       -DNONE_BROKEN=0 -DNO_LOCK=1 -DFREE_FIRST=2 -DNO_CHECK=3 -DTOUCH_STORE=4 -DNO_DEDUPE=5
       -DNO_UNSETTLE=6 -DNO_GRACE=7 -DSETTLE_CHANGED=8 -DLOOK_FIRST=9 -DATTEND_FIRST=10 -DUNATTENDED=11 -DSTALE_PLAIN=12
       -DLITTLE_GRACE=13 -DSLOW_WALK=14 -DONE_CELL=15 -DAS_BITS=16 -DNO_WALK_GRACE=17 -DNEW_BY_PREVIOUS=18)
failed=0

# check VERDICT SCENE MISTAKE [spin's -D...], in $model
check() {
  local want=$1 scene=$2 broken=$3 out states errors got
  shift 3
  rm -f pan pan.* ./*.trail
  spin "${names[@]}" "-DVARIANT=$scene" "-DBROKEN=$broken" "$@" -a "$here/$model.pml" >spin.out 2>&1 ||
    { head -5 spin.out; echo "FAIL  $scene $broken $*: spin refused the model"; failed=1; return; }
  gcc -O1 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=3500 pan.c -o pan
  out=$(timeout 40 ./pan -m200000 2>&1) || true
  states=$(awk '/states, stored/ {print $1}' <<<"$out")
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' <<<"$out")
  got=holds
  [ "${errors:-}" = 0 ] || got=fails
  [ -n "$errors" ] || got=unfinished   # out of time
  if grep -q 'Search not completed\|max search depth too small\|out of memory' <<<"$out" && [ "$got" = holds ]; then got=unfinished; fi
  printf '%-5s %-9s mistake: %-14s %-28s %10s states  %s\n' "$([ "$got" = "$want" ] && echo ok || echo FAIL)" \
    "$scene" "${broken/NONE_BROKEN/none}" "$*" "${states:-?}" "$got$(sed -n 's/^pan:1: /: /p' <<<"$out" | cut -c1-60)"
  [ "$got" = "$want" ] || { failed=1; grep -v '^$' <<<"$out" | tail -12; }
}

model=table
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

model=settled
check holds CUTOVER  NONE_BROKEN
check holds TWICE    NONE_BROKEN
check holds MEMBERS  NONE_BROKEN
check holds AGE      NONE_BROKEN
check holds HINDER   NONE_BROKEN
check holds DISPLACE NONE_BROKEN
check holds FINISH   NONE_BROKEN
check holds FINISH   NONE_BROKEN    -DONE_WALK

check fails CUTOVER  NO_UNSETTLE
check fails MEMBERS  NO_UNSETTLE
check fails MEMBERS  NO_GRACE
check fails CUTOVER  SETTLE_CHANGED
check fails CUTOVER  NEW_BY_PREVIOUS
check fails MEMBERS  SETTLE_CHANGED
check fails CUTOVER  NO_WALK_GRACE
check fails HINDER   NO_WALK_GRACE
check fails MEMBERS  AS_BITS
check fails HINDER   ONE_CELL
check fails AGE      STALE_PLAIN
check fails AGE      LITTLE_GRACE
check fails AGE      SLOW_WALK
check fails DISPLACE UNATTENDED
check fails DISPLACE NONE_BROKEN    -DONE_WALK
# A cell that is believed after two walks only forgives these.
check fails FINISH   LOOK_FIRST     -DONE_WALK
check fails FINISH   ATTEND_FIRST   -DONE_WALK
check holds FINISH   LOOK_FIRST
check holds FINISH   ATTEND_FIRST
exit $failed
