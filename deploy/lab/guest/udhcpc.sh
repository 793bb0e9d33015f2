#!/bin/sh
# What udhcpc calls when it got an address.
[ "$1" = bound ] || exit 0
ip addr add "$ip/${mask:-24}" dev "$interface"
[ -n "$router" ] && ip route add default via "${router%% *}"
echo "$ip" >>/run/addresses
