#!/bin/sh
# A whole Ceph in one container, in seconds: one monitor, one manager, one OSD that keeps everything in memory. It makes the pool
# `vms` and the user `berth`, whose key is in /run/berth.key when all is up. $1: its address. For tests: nothing of it is safe.
set -eu

address=$1
fsid=$(cat /proc/sys/kernel/random/uuid)
osd=$(cat /proc/sys/kernel/random/uuid)
monitor="[v2:$address:3300,v1:$address:6789]"
mkdir -p /etc/ceph /run/ceph /var/lib/ceph/mon/ceph-a /var/lib/ceph/mgr/ceph-x /var/lib/ceph/osd/ceph-0
cat >/etc/ceph/ceph.conf <<CONF
[global]
fsid = $fsid
mon host = $monitor
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
# the machine's disk is not its own
mon data avail warn = 1
mon data avail crit = 1
# what a new pool and a full OSD look like is known soon
mgr stats period = 1
[osd]
osd objectstore = memstore
memstore device bytes = 2147483648
CONF

admin=/etc/ceph/ceph.client.admin.keyring
ceph-authtool --create-keyring /tmp/mon.key --gen-key -n mon. --cap mon 'allow *'
ceph-authtool --create-keyring "$admin" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
ceph-authtool /tmp/mon.key --import-keyring "$admin"
monmaptool --create --addv a "$monitor" --fsid "$fsid" /tmp/monmap
ceph-mon --mkfs -i a --monmap /tmp/monmap --keyring /tmp/mon.key
ceph-mon -i a
ceph auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' -o /var/lib/ceph/mgr/ceph-x/keyring
ceph-mgr -i x
ceph osd new "$osd"
ceph auth get-or-create osd.0 mon 'allow profile osd' mgr 'allow profile osd' osd 'allow *' -o /var/lib/ceph/osd/ceph-0/keyring
ceph-osd -i 0 --mkfs --osd-uuid "$osd"
ceph-osd -i 0
ceph osd pool create vms 8
rbd pool init vms
ceph auth get-or-create-key client.berth mon 'profile rbd' osd 'profile rbd pool=vms' mgr 'profile rbd pool=vms' >/run/berth.key.half
mv /run/berth.key.half /run/berth.key
exec sleep infinity
