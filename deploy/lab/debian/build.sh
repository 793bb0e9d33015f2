#!/bin/sh
# Makes the disk of the lab's Debian guest from the tree that mmdebstrap has made (argument 1, a tar), without a mount or a
# loop device. Runs in a container of the host image, whose packages and whose initramfs of the small guest it uses; argument 2 is
# where the qcow2 goes.
set -eu
here=$(dirname "$0")
small=$here/../guest
tree=$1
out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
disk_mib=1536

for deb in /usr/share/berth-guest/*.deb; do dpkg-deb -x "$deb" "$work/deb"; done
busybox="$work/deb/bin/busybox"
modules="$work/deb/lib/modules"
version=$(ls "$modules")
root="$work/root"
mkdir "$root"
tar -xf "$tree" -C "$root"

# the kernel, and of its modules those that a VM of the lab has devices for
cp "$work/deb/boot/vmlinuz-$version" "$root/boot/vmlinuz"
mkdir -p "$root/lib/modules/$version" "$work/initramfs/modules"
cp "$modules/$version"/modules.builtin* "$modules/$version/modules.order" "$root/lib/modules/$version/"
grep -v '^[#[]' "$small/modules.txt" | while read -r module; do
  file=$(cd "$modules/$version" && find . -name "$module.ko" | head -n 1)
  [ -n "$file" ] && install -D -m 644 "$modules/$version/$file" "$root/lib/modules/$version/$file" || true
done
depmod -b "$root" "$version"

initramfs="$work/initramfs"
mkdir -p "$initramfs/bin" "$initramfs/proc" "$initramfs/sys" "$initramfs/dev" "$initramfs/root"
cp "$busybox" "$initramfs/bin/busybox"
install -m 755 "$small/initramfs-init" "$initramfs/init"
sed -n '/^\[boot\]/,/^\[root\]/p' "$small/modules.txt" | grep -v '^\[' | while read -r module; do
  file=$(find "$modules" -name "$module.ko" | head -n 1)
  [ -n "$file" ] || continue
  cp "$file" "$initramfs/modules/$module.ko"
  echo "$module" >>"$initramfs/modules/order"
done
(cd "$initramfs" && find . | sort | "$busybox" cpio -o -H newc 2>/dev/null | gzip -9n) >"$root/boot/initrd"

# a template that somebody has used: it has a name, a machine id and an address of its own
echo template >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 template\n::1 localhost\n' >"$root/etc/hosts"
echo '/dev/vda1 / ext4 rw 0 1' >"$root/etc/fstab"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
printf 'source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n' >"$root/etc/network/interfaces"
printf 'GRUB_CMDLINE_LINUX=""\n' >"$root/etc/default/grub"
install -D -m 644 "$here/grub.cfg" "$root/boot/grub/grub.cfg"
install -m 755 "$here/facts" "$root/usr/local/sbin/facts"
install -m 644 "$here/facts.service" "$root/etc/systemd/system/facts.service"
ln -s ../facts.service "$root/etc/systemd/system/multi-user.target.wants/facts.service"
# there are no locales to make
printf 'locale: false\n' >"$root/etc/cloud/cloud.cfg.d/10-lab.cfg"
# what only takes time
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

grub="$work/deb/usr/lib/grub/i386-pc"
"$work/deb/usr/bin/grub-mkimage" -O i386-pc -d "$grub" -p '(hd0,msdos1)/boot/grub' -c "$here/grub-core.cfg" -o "$work/core.img" \
  biosdisk part_msdos ext2 linux configfile normal
mkdir -p "$root/boot/grub/i386-pc"
raw="$work/disk.raw"
truncate -s "${disk_mib}M" "$raw"
printf 'label: dos\nlabel-id: 0x62657265\nstart=2048, type=83, bootable\n' | sfdisk -q --no-reread "$raw"
dd if="$grub/boot.img" of="$raw" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$raw" bs=512 seek=1 conv=notrunc status=none
mke2fs -q -t ext4 -d "$root" -b 4096 -m 0 -L debian -E offset=1048576 "$raw" "$(((disk_mib - 1) * 1024))k"
qemu-img convert -O qcow2 "$raw" "$out.$(hostname)"
mv "$out.$(hostname)" "$out"
