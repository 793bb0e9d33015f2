#!/usr/bin/python
# A logical network of a Berth installation: made, changed, deleted.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: network
short_description: Manage logical networks of a Berth installation
description:
  - Makes a network that VMs can be in, sets its labels, hosts and addresses, and deletes it.
  - A network is a bridge that hosts have already (I(bridge) alone), an isolated one that Berth makes (I(isolated)), or a network
    with NAT that libvirt makes (I(nat)).
  - What VMs rely on (its kind, bridge, gateways and DHCP) stays as it was made; another wish is a failure.
author: The Berth authors
extends_documentation_fragment: berth.berth.api
options:
  name:
    description: Name of the network.
    type: str
    required: true
  bridge:
    description: Bridge that hosts have it as. Nothing means its name, where Berth makes it.
    type: str
  isolated:
    description: Berth makes the bridge, and nothing leads out of it.
    type: bool
    default: false
  addresses:
    description: Addresses of the hosts in an isolated network, in CIDR form. Nothing leaves them as they are.
    type: list
    elements: str
  nat:
    description: Address of the gateway in CIDR form. Guests reach out through their host.
    type: str
  ipv6:
    description: Address of the gateway in IPv6 too, with I(nat).
    type: str
  dhcp_range:
    description: Addresses for guests, C(192.0.2.10-192.0.2.20), with I(nat).
    type: str
  stp:
    description: Spanning tree, with I(nat).
    type: bool
    default: false
  hosts:
    description: Hosts that have it. An empty list means all. Nothing means all for a new one, and leaves another as it is.
    type: list
    elements: str
  selector:
    description: Labels of the hosts that have it, C(zone=a), instead of I(hosts).
    type: str
  labels:
    description: Labels that it shall have. Others stay.
    type: dict
    default: {}
  state:
    description: Whether it is there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Give a bridge of all hosts a name
  berth.berth.network:
    name: lan
    bridge: br0

- name: Make a network with NAT and DHCP
  berth.berth.network:
    name: vbr
    nat: 192.168.100.254/24
    dhcp_range: 192.168.100.128-192.168.100.200

- name: Make an isolated network on some hosts
  berth.berth.network:
    name: db
    isolated: true
    addresses: [10.1.0.1/24]
    selector: zone=a
"""

RETURN = r"""
network:
  description: The network, as the API tells of it.
  type: dict
  returned: when it is there
"""

import ipaddress

from ansible_collections.berth.berth.plugins.module_utils.api import BerthError, at, label_changes, run_module


def shown(network):
    """What diffs are made of."""
    if network is None:
        return {"state": "absent"}
    fields = dict((name, network[name]) for name in ("kind", "bridge", "addresses", "dhcpRange", "stp") if network.get(name))
    where = dict(hosts=sorted(network.get("hosts", [])), selector=network.get("selector", ""))
    return dict(fields, state="present", labels=network.get("labels", {}), **where)


def spelt(address):
    """As the API tells of it; what is none goes there as it is, and is refused."""
    ip, slash, prefix = address.partition("/")
    try:
        return ipaddress.ip_address(ip.strip()).compressed + slash + prefix
    except ValueError:
        return address


def wanted(p):
    """What is said of what it is, as the API has it."""
    if p["nat"] and p["isolated"]:
        raise BerthError("network %s: isolated, or nat: choose one of them" % p["name"])
    if p["addresses"] and not p["isolated"]:
        raise BerthError("network %s: addresses belong to isolated" % p["name"])
    if (p["ipv6"] or p["dhcp_range"] or p["stp"]) and not p["nat"]:
        raise BerthError("network %s: ipv6, dhcp_range and stp belong to nat" % p["name"])
    said = dict(kind="nat" if p["nat"] else "isolated" if p["isolated"] else "bridge")
    if p["bridge"]:
        said["bridge"] = p["bridge"]
    if p["nat"]:
        said["addresses"] = [spelt(a) for a in (p["nat"], p["ipv6"]) if a]
    elif p["addresses"] is not None:
        said["addresses"] = [spelt(a) for a in p["addresses"]]
    if p["dhcp_range"]:
        said["dhcpRange"] = "-".join(spelt(a) for a in p["dhcp_range"].split("-"))
    if p["stp"]:
        said["stp"] = True
    return said


def make(module, api, said):
    p = module.params
    labels = dict((k, str(v)) for k, v in p["labels"].items())
    request = dict(said, name=p["name"], labels=labels, hosts=p["hosts"] or [], selector=p["selector"] or "")
    if module.check_mode:
        return dict(dict(bridge=p["name"]), **request)
    api.finish(api.call("POST", "/v1/networks", request))
    return api.call("GET", at("networks", p["name"]))


def refuse(name, said, network):
    """What VMs rely on."""
    fixed = [f for f in ("kind", "bridge", "dhcpRange", "stp") if f in said and said[f] != network.get(f, "")]
    if not fixed and said["kind"] == "nat" and said["addresses"] != network.get("addresses", []):
        fixed = ["addresses"]
    if fixed:
        now = network.get(fixed[0], "nothing")
        raise BerthError("network %s: %s is %s, and stays: make a network beside it" % (name, fixed[0], now))


def change(module, api, said, network):
    """Labels, hosts, and addresses of one that is isolated. Answers the network as it is then, or would be."""
    p = module.params
    request, would = {}, dict(network)
    labels = label_changes(network.get("labels", {}), p["labels"])
    if labels:
        request["setLabels"] = labels
        would["labels"] = dict(network.get("labels", {}), **labels)
    if said["kind"] == "isolated" and said.get("addresses", network.get("addresses", [])) != network.get("addresses", []):
        request["addresses"] = dict(addresses=said["addresses"])
        would["addresses"] = said["addresses"]
    where = dict(hosts=sorted(p["hosts"] or []), selector=p["selector"] or "")
    said_where = p["hosts"] is not None or p["selector"] is not None
    if said_where and where != dict(hosts=sorted(network.get("hosts", [])), selector=network.get("selector", "")):
        request["hosts"] = where
        would.update(where)
    if not request or module.check_mode:
        return would
    api.finish(api.call("PATCH", at("networks", p["name"]), request))
    return api.call("GET", at("networks", p["name"]))


def run(module, api):
    p = module.params
    before = api.find(at("networks", p["name"]))
    if p["state"] == "absent":
        if before is not None and not module.check_mode:
            api.finish(api.call("DELETE", at("networks", p["name"])))
        return dict(changed=before is not None, diff=dict(before=shown(before), after={"state": "absent"}))
    said = wanted(p)
    if before is None:
        after = make(module, api, said)
    else:
        refuse(p["name"], said, before)
        after = change(module, api, said, before)
    return dict(changed=shown(before) != shown(after), diff=dict(before=shown(before), after=shown(after)), network=after)


def main():
    run_module(
        run,
        name=dict(type="str", required=True),
        bridge=dict(type="str"),
        isolated=dict(type="bool", default=False),
        addresses=dict(type="list", elements="str"),
        nat=dict(type="str"),
        ipv6=dict(type="str"),
        dhcp_range=dict(type="str"),
        stp=dict(type="bool", default=False),
        hosts=dict(type="list", elements="str"),
        selector=dict(type="str"),
        labels=dict(type="dict", default={}),
        state=dict(type="str", choices=["present", "absent"], default="present"),
    )


if __name__ == "__main__":
    main()
