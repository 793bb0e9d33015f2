# Inventory from a controller: its VMs as machines to manage, and its hosts.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
name: berth
short_description: VMs and hosts of a Berth installation
description:
  - VMs are in the group C(berth_vms), hosts in C(berth_hosts). Each label is a group, C(label_tier_web).
  - A VM that has the name of a machine which is listed already is left out, with a warning. So is one with the name C(localhost).
    Whoever may make VMs would choose where a play for that machine goes. Sources that list machines by hand are named before this one.
  - Groups of your own are made with C(compose), C(groups) and C(keyed_groups) from the variables C(berth_state), C(berth_host),
    C(berth_labels), C(berth_kind) and C(berth_address).
author: The Berth authors
extends_documentation_fragment:
  - berth.berth.api
  - constructed
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [berth.berth.berth]
  include:
    description: What is listed.
    type: list
    elements: str
    default: [vms, hosts]
  selector:
    description: Only what has such labels, C(team=a,tier!=db).
    type: str
    default: ""
"""

EXAMPLES = r"""
plugin: berth.berth.berth
login_file: ~/ci.login
ca_file: ~/berth-ca.pem
include: [vms]
selector: team=a
"""

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.berth.berth.plugins.module_utils.api import Api, BerthError, state_word


class InventoryModule(BaseInventoryPlugin, Constructable):
    NAME = "berth.berth.berth"

    def verify_file(self, path):
        return super(InventoryModule, self).verify_file(path) and path.endswith(("berth.yml", "berth.yaml"))

    def parse(self, inventory, loader, path, cache=True):
        super(InventoryModule, self).parse(inventory, loader, path, cache)
        self._read_config_data(path)
        names = ("login_file", "ca_file", "api_port", "wait_seconds")
        # what other sources list, and what Ansible knows without any
        machines = set(self.inventory.hosts) | {"localhost"}
        try:
            api = Api(*[self.get_option(name) for name in names])
            query = {"selector": self.get_option("selector")} if self.get_option("selector") else None
            if "hosts" in self.get_option("include"):
                for host in api.list("/v1/hosts", "hosts", query):
                    machines.add(host["name"])
                    address = host["address"].rsplit(":", 1)[0].strip("[]")
                    self._add("hosts", host, host.get("labels", {}), address, host["name"])
            if "vms" in self.get_option("include"):
                for vm in api.list("/v1/vms", "vms", query):
                    if vm["name"] in machines:
                        self.display.warning("berth: vm %s has the name of another machine, and is left out" % vm["name"])
                        continue
                    nics = vm["spec"].get("nics", [])
                    address = next((n["address"].split("/")[0] for n in nics if n.get("address")), "")
                    self._add("vms", vm, vm["spec"].get("labels", {}), address, vm.get("host", ""))
        except BerthError as e:
            raise AnsibleParserError("berth: %s" % e)

    def _add(self, kind, found, labels, address, host):
        name = found["name"]
        group = self.inventory.add_group("berth_" + kind)
        self.inventory.add_host(name, group)
        prefix = "VM_STATE_" if kind == "vms" else "HOST_STATE_"
        facts = dict(
            berth_kind=kind[:-1],
            berth_state=state_word(found["state"], prefix),
            berth_labels=labels,
            berth_host=host,
            berth_address=address,
        )
        if address:
            facts["ansible_host"] = address
        # who may label a VM may not run anything here: no text of theirs is a template
        facts = wrap_var(facts)
        for key, value in facts.items():
            self.inventory.set_variable(name, key, value)
        for key, value in labels.items():
            self.inventory.add_host(name, self.inventory.add_group(self._sanitize_group_name("label_%s_%s" % (key, value))))
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), facts, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), facts, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), facts, name, strict=strict)
