#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds that scripts/demo and scripts/test share; sourced, from the top of the tree.
export CCACHE_NOHASHDIR=1   # a clone beside this one takes what has been compiled here, with debugging information too
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH   # Debian's meson and python3, before any other

# build_in NAME "MESON OPTIONS" [TARGET...]: sets build/NAME up when needed and builds the targets, or everything.
build_in() {
  local dir=build/$1 options=$2 log
  shift 2
  mkdir -p build
  log=$dir.log
  if [ ! -f "$dir/build.ninja" ]; then
    # shellcheck disable=SC2086  # options are several words
    CXX="${CXX:-ccache g++}" meson setup "$dir" $options >"$log" 2>&1 || { tail -30 "$log" >&2; echo "meson setup $dir failed" >&2; return 1; }
  fi
  # Which test directories exist is asked at set-up only.
  if [ -n "$(find . -path ./build -prune -o -name meson.build -newer "$dir/build.ninja" -print -quit)" ]; then
    meson setup --reconfigure "$dir" >"$log" 2>&1 || { tail -30 "$log" >&2; return 1; }
  fi
  ninja -C "$dir" "$@" >"$log" 2>&1 || { grep -E 'error|FAILED|warning' -A5 "$log" | head -60 >&2; echo "building $dir failed; $log has it all" >&2; return 1; }
}

build_release() { build_in release "--buildtype=release" "$@"; }

# setup_in NAME MESON_OPTION...: only sets build/NAME up; `meson test` then builds what its tests need.
setup_in() {
  local dir=build/$1
  shift
  mkdir -p build
  if [ -f "$dir/build.ninja" ]; then set -- --reconfigure; fi
  CXX="${CXX:-ccache g++}" meson setup "$dir" "$@" >"$dir.log" 2>&1
}
