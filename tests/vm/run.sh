#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The XDP engine's packet cases on Debian 12's own kernel. That is the oldest one teal promises to run on, its verifier
# refuses what later ones take, and a machine that tests run on may have another. Boots it in QEMU, without KVM, this
# machine's files before it read-only, and runs build/release/tests/cases/teal-cases there.
# Usage: sudo tests/vm/run.sh [--short | --filter GTEST_FILTER]
#   --short    a case or two of all kinds (a minute and a half); else all of the XDP engine's (ten to fifteen)
# Exit: 0; 1 when a case failed or none ran, or the kernel could not be had; 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/../.."
filter='*xdp/*' limit_s=3600
case "${1:-}" in
  '') ;;
  --short)
    filter='' limit_s=600
    for case in affinity_gives_way cutover_midflow full_table hairpin ipip l2dsr malformed mss_clamp nat_tcp_life nat_udp \
      preview_prefixes replies_by_source rollback_keep settled_cutover settled_life shared_backend vlan_in; do
      filter+="xdp/$case.*:"
    done ;;
  --filter) filter=${2:-} ;;
  *) filter= ;;
esac
[ -n "$filter" ] || { sed -n 's/^# \{0,1\}//; 6,7p' "$0" >&2; exit 2; }
fail() { echo "tests/vm: $*" >&2; exit 1; }
tests=build/release/tests/cases/teal-cases
[ -x "$tests" ] || fail "no $tests: build it first (scripts/test --only cases)"

# The kernel, from its package; not installed. Kept, and fetched again when Debian has a newer one.
keep=$PWD/build/vm
package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
[ -n "$package" ] || fail "Debian's linux-image-amd64 is not known to apt"
if [ ! -e "$keep/$package/done" ]; then
  rm -rf "$keep"
  mkdir -p "$keep/$package"
  (cd "$keep" && apt-get -qq -o APT::Sandbox::User=root download "$package") || fail "cannot download $package"
  dpkg -x "$keep/$package"_*.deb "$keep/$package"
  rm "$keep"/*.deb
  touch "$keep/$package/done"
fi
version=${package#linux-image-}
modules=$keep/$package/lib/modules/$version

work=$(mktemp -d /tmp/teal-vm.XXXXXX)
trap 'kill "${qemu:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$work/out" "$work/initrd"/{bin,modules,proc,sys,dev,host}

# The first file system: busybox and the modules that it takes to reach this machine's files, and to have veth.
busybox depmod -b "$keep/$package" "$version" 2>/dev/null
mods=()
add() {
  local file=$1 before needs
  [[ " ${mods[*]} " == *" $(basename "$file") "* ]] && return 0
  read -ra needs < <(sed -n "s|^$file: *||p" "$modules/modules.dep") || true
  for before in "${needs[@]}"; do add "$before"; done
  cp "$modules/$file" "$work/initrd/modules/"
  mods+=("$(basename "$file")")
}
for name in virtio_pci 9pnet_virtio 9p veth; do
  file=$(sed -n "s|^\(.*/$name\.ko\):.*|\1|p" "$modules/modules.dep")
  [ -n "$file" ] || fail "$package has no module $name"
  add "$file"
done
cp /bin/busybox "$work/initrd/bin/"
cat >"$work/initrd/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in ${mods[*]}; do insmod /modules/\$module || echo "no module \$module"; done
files="-t 9p -o trans=virtio,version=9p2000.L,msize=262144"
mount \$files,cache=loose,ro root /host
for at in proc sysfs:sys devtmpfs:dev tmpfs:run tmpfs:tmp tmpfs:mnt tmpfs:dev/shm bpf:sys/fs/bpf; do
  mkdir -p /host/\${at#*:}
  mount -t \${at%:*} none /host/\${at#*:}
done
mkdir -p /host/mnt/out "/host$PWD"
mount \$files out /host/mnt/out
mount \$files,cache=loose,ro tree "/host$PWD" # which may be hidden by now
chroot /host /bin/bash /mnt/out/guest.sh >/host/mnt/out/log 2>&1 </dev/null
echo \$? >/host/mnt/out/code
poweroff -f
INIT
chmod +x "$work/initrd/init"
(cd "$work/initrd" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initrd.gz"
cat >"$work/out/guest.sh" <<GUEST
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd '$PWD'
exec $tests --gtest_brief=1 --gtest_filter='$filter'
GUEST

timeout "$limit_s" qemu-system-x86_64 -nodefaults -no-user-config -machine q35,accel=tcg -cpu max -smp 2 -m 2048 \
  -display none -no-reboot -nic none -serial "file:$work/console" -kernel "$keep/$package/boot/vmlinuz-$version" -initrd "$work/initrd.gz" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off" \
  -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
  -virtfs "local,path=$PWD,mount_tag=tree,security_model=none,readonly=on,multidevs=remap" \
  -virtfs "local,path=$work/out,mount_tag=out,security_model=none" </dev/null &
qemu=$!
wait "$qemu" || fail "qemu ended with $? (124: after $limit_s s)"
qemu=
cat "$work/out/log" 2>/dev/null || { cat "$work/console"; fail "the machine did not start"; }
[ "$(cat "$work/out/code" 2>/dev/null)" = 0 ] || { tail -n 5 "$work/console"; fail "failed on $package"; }
grep -qE 'PASSED  \] [1-9][0-9]* test' "$work/out/log" || fail "no case ran"
echo "on $package: $(grep -oE '[0-9]+ tests? from .* ran' "$work/out/log" | tail -n 1)"
