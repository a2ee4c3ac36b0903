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
# check VERDICT SCENE MISTAKE [spin's -D...], in $model; in a directory of its own. 1: not as expected.
check() (
  want=$1 scene=$2 broken=$3
  shift 3
  spin "${names[@]}" "-DVARIANT=$scene" "-DBROKEN=$broken" "$@" -a "$here/$model.pml" >spin.out 2>&1 ||
    { head -5 spin.out; echo "FAIL  $scene $broken $*: spin refused the model"; return 1; }
  gcc -O1 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=3500 pan.c -o pan
  # The longest takes 20 s on an idle machine; beside other work 40 were not enough once.
  out=$(timeout 240 ./pan -m200000 2>&1) || true
  states=$(awk '/states, stored/ {print $1}' <<<"$out")
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' <<<"$out")
  got=holds
  [ "${errors:-}" = 0 ] || got=fails
  [ -n "$errors" ] || got=unfinished   # out of time
  if grep -q 'Search not completed\|max search depth too small\|out of memory' <<<"$out" && [ "$got" = holds ]; then got=unfinished; fi
  printf '%-5s %-9s mistake: %-14s %-28s %10s states  %s\n' "$([ "$got" = "$want" ] && echo ok || echo FAIL)" \
    "$scene" "${broken/NONE_BROKEN/none}" "$*" "${states:-?}" "$got$(sed -n 's/^pan:1: /: /p' <<<"$out" | cut -c1-60)"
  [ "$got" = "$want" ] || { grep -v '^$' <<<"$out" | tail -12; return 1; }
)

# scene VERDICT ...: a check beside others, one a CPU.
count=0
scene() {
  local at
  count=$((count + 1))
  at=$dir/$(printf '%03d' $count)
  mkdir "$at"
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
  (cd "$at" && { check "$@" >said 2>&1 || touch failed; }) &
}

model=table
scene holds CLAIM    NONE_BROKEN -DTWO_BUCKETS
scene holds DISPLACE NONE_BROKEN
scene holds DISPLACE NONE_BROKEN -DSHARED_LOCK
scene holds RIVALS   NONE_BROKEN
scene holds REPLACE  NONE_BROKEN
scene holds EVICT    NONE_BROKEN -DTWO_BUCKETS
scene holds RECYCLE  NONE_BROKEN -DTWO_BUCKETS
scene holds CRASH    NONE_BROKEN

scene fails CLAIM    NO_LOCK     -DTWO_BUCKETS
scene fails RIVALS   FREE_FIRST
scene fails RECYCLE  NO_CHECK    -DTWO_BUCKETS
scene fails RECYCLE  TOUCH_STORE -DTWO_BUCKETS
scene fails CRASH    NO_DEDUPE

model=settled
scene holds CUTOVER  NONE_BROKEN
scene holds TWICE    NONE_BROKEN
scene holds MEMBERS  NONE_BROKEN
scene holds AGE      NONE_BROKEN
scene holds HINDER   NONE_BROKEN
scene holds DISPLACE NONE_BROKEN
scene holds FINISH   NONE_BROKEN
scene holds FINISH   NONE_BROKEN    -DONE_WALK

scene fails CUTOVER  NO_UNSETTLE
scene fails MEMBERS  NO_UNSETTLE
scene fails MEMBERS  NO_GRACE
scene fails CUTOVER  SETTLE_CHANGED
scene fails CUTOVER  NEW_BY_PREVIOUS
scene fails MEMBERS  SETTLE_CHANGED
scene fails CUTOVER  NO_WALK_GRACE
scene fails HINDER   NO_WALK_GRACE
scene fails MEMBERS  AS_BITS
scene fails HINDER   ONE_CELL
scene fails AGE      STALE_PLAIN
scene fails AGE      LITTLE_GRACE
scene fails AGE      SLOW_WALK
scene fails DISPLACE UNATTENDED
scene fails DISPLACE NONE_BROKEN    -DONE_WALK
# A cell that is believed after two walks only forgives these.
scene fails FINISH   LOOK_FIRST     -DONE_WALK
scene fails FINISH   ATTEND_FIRST   -DONE_WALK
scene holds FINISH   LOOK_FIRST
scene holds FINISH   ATTEND_FIRST
wait
for at in "$dir"/*/; do cat "$at/said"; done
if ls "$dir"/*/failed >/dev/null 2>&1; then exit 1; fi
