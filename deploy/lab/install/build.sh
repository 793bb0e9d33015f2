#!/bin/sh
# Makes the machine that the packages are tried on, of the tree that mmdebstrap has made (argument 1, a tar), in a container of the
# host image, whose kernel it has: into the folder that is argument 2 go vmlinuz, initrd and disk.qcow2, the last of them last.
set -eu
here=$(dirname "$0")
small=$here/../guest
out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
disk_mib=3072

for deb in /usr/share/berth-guest/*.deb; do dpkg-deb -x "$deb" "$work/deb"; done
busybox="$work/deb/bin/busybox"
modules="$work/deb/lib/modules"
version=$(ls "$modules")
root="$work/root"
mkdir "$root"
tar -xf "$1" -C "$root"
cp -r "$modules" "$root/lib/"
depmod -b "$root" "$version"

echo debian >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost\n' >"$root/etc/hosts"
printf '/dev/vda1 / ext4 rw 0 1\n/dev/vdb /mnt ext4 ro,nofail 0 0\n' >"$root/etc/fstab"
for file in "$here"/network/*; do install -m 644 "$file" "$root/etc/systemd/network/"; done
install -m 644 "$here/shell.service" "$root/etc/systemd/system/shell.service"
ln -sf /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
ln -sf /etc/systemd/system/shell.service "$root/etc/systemd/system/multi-user.target.wants/shell.service"
# what only takes time
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer man-db.timer \
  logrotate.timer systemd-networkd-wait-online.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

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
printf 'label: dos\nlabel-id: 0x62657267\nstart=2048, type=83\n' | sfdisk -q --no-reread "$raw"
mke2fs -q -t ext4 -d "$root" -b 4096 -m 0 -L debian -E offset=1048576 "$raw" "$(((disk_mib - 1) * 1024))k"
qemu-img convert -O qcow2 "$raw" "$out/disk.half"
mv "$out/disk.half" "$out/disk.qcow2"
