#!/bin/sh
# Makes the storage guest of the tree that mmdebstrap has made (argument 1, a tar), in a container of the host image, whose kernel
# it has: into the folder that is argument 2 go vmlinuz, initrd and disk.qcow2, the last of them last.
set -eu
here=$(dirname "$0")
small=$here/../guest
out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
disk_mib=2048

for deb in /usr/share/berth-guest/*.deb; do dpkg-deb -x "$deb" "$work/deb"; done
busybox="$work/deb/bin/busybox"
modules="$work/deb/lib/modules"
version=$(ls "$modules")
root="$work/root"
mkdir "$root"
tar -xf "$1" -C "$root"
cp -r "$modules" "$root/lib/"
depmod -b "$root" "$version"
install -m 755 "$here/init" "$root/init"
# libvirt asks each QEMU that is there what it can, and each answer takes long here
rm -f "$root/usr/bin/qemu-system-i386" "$root/usr/bin/qemu-system-x86_64-microvm"

initramfs="$work/initramfs"
mkdir -p "$initramfs/bin" "$initramfs/proc" "$initramfs/sys" "$initramfs/dev" "$initramfs/root" "$initramfs/modules"
cp "$busybox" "$initramfs/bin/busybox"
install -m 755 "$small/initramfs-init" "$initramfs/init"
sed -n '/^\[boot\]/,/^\[root\]/p' "$small/modules.txt" | grep -v '^\[' | while read -r module; do
  file=$(find "$modules" -name "$module.ko" | head -n 1)
  [ -n "$file" ] || continue
  cp "$file" "$initramfs/modules/$module.ko"
  echo "$module" >>"$initramfs/modules/order"
done
(cd "$initramfs" && find . | sort | "$busybox" cpio -o -H newc 2>/dev/null | gzip -9n) >"$out/initrd"
cp "$work/deb/boot/vmlinuz-$version" "$out/vmlinuz"

raw="$work/disk.raw"
truncate -s "${disk_mib}M" "$raw"
printf 'label: dos\nlabel-id: 0x62657266\nstart=2048, type=83\n' | sfdisk -q --no-reread "$raw"
mke2fs -q -t ext4 -d "$root" -b 4096 -m 0 -L storage -E offset=1048576 "$raw" "$(((disk_mib - 1) * 1024))k"
qemu-img convert -O qcow2 "$raw" "$out/disk.half"
mv "$out/disk.half" "$out/disk.qcow2"
