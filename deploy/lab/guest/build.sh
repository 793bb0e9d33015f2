#!/bin/sh
# Builds the guest's disk without a mount, a loop device or any privilege. Runs inside a container of the host image, which
# carries the Debian packages it needs; argument 1 is where the qcow2 goes.
set -eu
here=$(dirname "$0")
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
disk_mib=64

for deb in /usr/share/berth-guest/*.deb; do dpkg-deb -x "$deb" "$work/deb"; done
busybox="$work/deb/bin/busybox"
kernel=$(ls "$work"/deb/boot/vmlinuz-*)
all_modules="$work/deb/lib/modules"
[ -d "$all_modules" ] || all_modules="$work/deb/usr/lib/modules"

# copy_modules SECTION TARGET: the .ko files of one block of modules.txt and their order.
copy_modules() {
  mkdir -p "$2"
  sed -n "/^\[$1\]/,/^\[/p" "$here/modules.txt" | grep -v '^\[' | while read -r module; do
    file=$(find "$all_modules" -name "$module.ko" -o -name "$module.ko.xz" | head -n 1)
    [ -n "$file" ] || continue
    case "$file" in
      *.xz) "$busybox" xz -dc "$file" >"$2/$module.ko" ;;
      *) cp "$file" "$2/$module.ko" ;;
    esac
    echo "$module" >>"$2/order"
  done
}

# copy_program FILE: the program to /sbin, with the libraries that it needs, which this container has for QEMU.
copy_program() {
  install -m 755 "$1" "$root/sbin/"
  ldd "$1" | grep -o '/[^ ]*' | while read -r library; do install -D -m 755 "$library" "$root$library"; done
}

initramfs="$work/initramfs"
mkdir -p "$initramfs/bin" "$initramfs/proc" "$initramfs/sys" "$initramfs/dev" "$initramfs/root"
cp "$busybox" "$initramfs/bin/busybox"
install -m 755 "$here/initramfs-init" "$initramfs/init"
copy_modules boot "$initramfs/modules"

root="$work/root"
mkdir -p "$root/bin" "$root/etc/acpi/PWRF" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/root" "$root/tmp" \
  "$root/var/lib" "$root/boot" "$root/sbin" "$root/lib64"
cp "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r applet; do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
# where the guest agent looks for it
ln -s /bin/busybox "$root/sbin/hwclock"
install -m 755 "$here/init" "$root/init"
install -m 755 "$here/power-button" "$root/etc/acpi/PWRF/00000080"
install -m 755 "$here/udhcpc.sh" "$root/etc/udhcpc.sh"
install -m 644 "$here/network.awk" "$root/etc/network.awk"
install -m 755 "$here/shutdown" "$root/sbin/shutdown"
install -m 644 "$here/os-release" "$root/etc/os-release"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:*:19000:0:99999:7:::' >"$root/etc/shadow"
echo '/dev/vda1 / ext4 rw 0 1' >"$root/etc/fstab"
copy_modules root "$root/lib/modules"
copy_program "$work/deb/usr/sbin/qemu-ga"
copy_program /usr/sbin/chpasswd
mv "$root/sbin/chpasswd" "$root/sbin/chpasswd.shadow"
install -m 755 "$here/chpasswd" "$root/sbin/chpasswd"
cp "$kernel" "$root/boot/vmlinuz"
(cd "$initramfs" && find . | sort | "$busybox" cpio -o -H newc 2>/dev/null | gzip -9n) >"$root/boot/initrd"

# One partition from 1 MiB to the end; the loader lies in the two sectors before all else (see loader.S).
raw="$work/disk.raw"
truncate -s "${disk_mib}M" "$raw"
printf 'label: dos\nlabel-id: 0x62657274\nstart=2048, type=83, bootable\n' | sfdisk -q --no-reread "$raw"
mke2fs -q -t ext4 -d "$root" -b 4096 -J size=4 -m 0 -I 256 -L berth-guest -E offset=1048576 "$raw" "$(((disk_mib - 1) * 1024))k"

# first_sector FILE: where it lies on the disk, in one piece
first_sector() {
  debugfs -R "blocks $1" "$raw?offset=1048576" 2>/dev/null | tr ' ' '\n' | grep . >"$work/blocks"
  first=$(head -n 1 "$work/blocks")
  seq "$first" $((first + $(wc -l <"$work/blocks") - 1)) | cmp -s - "$work/blocks" || { echo "$1 is in pieces" >&2; exit 1; }
  echo $((2048 + first * 8))
}
sectors() { echo $((($(stat -c %s "$root$1") + 511) / 512)); }
# long NUMBER: its four bytes, the lowest first
long() {
  for shift in 0 8 16 24; do printf "\\$(printf %o $(($1 >> shift & 255)))"; done
}
kernel_at=$(first_sector /boot/vmlinuz)
initrd_at=$(first_sector /boot/initrd)
setup=$(($(od -An -tu1 -j 497 -N 1 "$kernel") + 1))
{
  for number in "$setup" "$kernel_at" "$(($(sectors /boot/vmlinuz) - setup))" "$initrd_at" "$(sectors /boot/initrd)"; do
    long "$number"
  done
  tr -d '\n' <"$here/command-line"
} >"$work/second"
dd if="$here/loader.bin" of="$raw" bs=440 count=1 conv=notrunc status=none
dd if="$work/second" of="$raw" bs=512 seek=1 conv=notrunc status=none
qemu-img convert -c -O qcow2 "$raw" "$out.$(hostname)"
mv "$out.$(hostname)" "$out"
