#!/bin/sh
# What a lab host does when it boots (tini is process 1 and reaps): gives itself a boot id and a machine id, a bridge, and
# a libvirt that listens on its UNIX socket only. libvirtd comes back when it dies, as systemd would have it, unless
# /run/berth-hold-libvirtd exists. With BERTH_INIT=systemd (then this script is process 1) all of that is systemd's, as on a
# real host. The agent is not started here.
set -eu

mount -o remount,rw /proc/sys 2>/dev/null || true

# Containers share the kernel's boot id; a host must have its own, new with every boot.
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
grep -qsE '^[0-9a-f]{32}$' /etc/machine-id || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
id=$(cat /etc/machine-id)
host_uuid=$(echo "$id" | sed 's/^\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{12\}\).*/\1-\2-\3-\4-\5/')

cat >/etc/libvirt/qemu.conf <<CONF
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
CONF
cat >/etc/libvirt/libvirtd.conf <<CONF
host_uuid = "$host_uuid"
listen_tls = 0
listen_tcp = 0
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
CONF

ip link add br0 type bridge 2>/dev/null || true
ip addr replace "${BERTH_BRIDGE_ADDRESS:-10.77.0.254/24}" dev br0
ip link set br0 up

if [ "${BERTH_INIT:-}" = systemd ]; then
  # a tree of control groups of its own (the container has its own namespace of them), without controllers
  umount -R /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  exec /lib/systemd/systemd --log-target=console --show-status=no
fi

mkdir -p /var/lib/berth /run/libvirt /run/lock # libvirt locks consoles there
virtlogd -d
while :; do
  if [ ! -e /run/berth-hold-libvirtd ]; then
    rm -f /run/libvirt/libvirtd.pid /run/libvirtd.pid
    libvirtd >>/var/log/libvirt/libvirtd.log 2>&1 || true
  fi
  sleep 0.3
done
