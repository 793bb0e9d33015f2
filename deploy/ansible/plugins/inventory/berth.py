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
    C(berth_labels), C(berth_kind), C(berth_address) and C(berth_guest_addresses).
  - I(login_file) may be in a vault of Ansible.
  - A VM is reached at the address that it was given. What its guest agent says (C(berth_guest_addresses)) is the guest's word, and is
    used where C(compose) says so.
author: The Berth authors
extends_documentation_fragment:
  - berth.berth.api
  - constructed
  - inventory_cache
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
keyed_groups:
  - key: berth_host
    prefix: 'on'
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/berth-inventory
cache_timeout: 60
"""

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.berth.berth.plugins.module_utils.api import Api, BerthError, state_word


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "berth.berth.berth"

    def verify_file(self, path):
        return super(InventoryModule, self).verify_file(path) and path.endswith(("berth.yml", "berth.yaml"))

    def parse(self, inventory, loader, path, cache=True):
        super(InventoryModule, self).parse(inventory, loader, path, cache)
        self._read_config_data(path)
        # what other sources list, and what Ansible knows without any
        machines = set(self.inventory.hosts) | {"localhost"}
        found = self._found(self.get_cache_key(path), cache)
        for host in found["hosts"]:
            machines.add(host["name"])
            self._add("hosts", host)
        for vm in found["vms"]:
            if vm["name"] in machines:
                self.display.warning("berth: vm %s has the name of another machine, and is left out" % vm["name"])
            else:
                self._add("vms", vm)

    def _found(self, key, may_be_old):
        """What the controller lists, or has listed a while ago where the file says that this will do."""
        caches = self.get_option("cache")
        if caches and may_be_old and key in self._cache:
            return self._cache[key]
        try:
            found = self._ask()
        except BerthError as e:
            raise AnsibleParserError("berth: %s" % e)
        if caches:
            self._cache[key] = found
        return found

    def _api(self):
        """The login file may be in a vault."""
        more = [self.get_option(name) for name in ("ca_file", "api_host", "api_port", "wait_seconds")]
        try:
            login = self.loader.get_real_file(self.get_option("login_file"))
        except AnsibleError as e:
            raise BerthError("the login file cannot be read: %s" % e)
        try:
            return Api(login, *more)
        finally:
            self.loader.cleanup_tmp_file(login)

    def _ask(self):
        api = self._api()
        include, selector = self.get_option("include"), self.get_option("selector")
        query = {"selector": selector} if selector else None
        hosts = api.list("/v1/hosts", "hosts", query) if "hosts" in include else []
        vms = api.list("/v1/vms", "vms", query) if "vms" in include else []
        return {"hosts": [about_host(host) for host in hosts], "vms": [about_vm(vm) for vm in vms]}

    def _add(self, kind, about):
        name, facts = about["name"], dict(about["facts"], berth_kind=kind[:-1])
        labels = facts["berth_labels"]
        self.inventory.add_host(name, self.inventory.add_group("berth_" + kind))
        if facts["berth_address"]:
            facts["ansible_host"] = facts["berth_address"]
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


def about_host(host):
    facts = dict(
        berth_state=state_word(host["state"], "HOST_STATE_"),
        berth_labels=host.get("labels", {}),
        berth_host=host["name"],
        berth_address=host["address"].rsplit(":", 1)[0].strip("[]"),
    )
    return dict(name=host["name"], facts=facts)


def about_vm(vm):
    nics = vm["spec"].get("nics", [])
    facts = dict(
        berth_state=state_word(vm["state"], "VM_STATE_"),
        berth_labels=vm["spec"].get("labels", {}),
        berth_host=vm.get("host", ""),
        berth_address=next((n["address"].split("/")[0] for n in nics if n.get("address")), ""),
        berth_guest_addresses=said_by_guest(vm.get("guest") or {}),
    )
    return dict(name=vm["name"], facts=facts)


def said_by_guest(guest):
    """Addresses that others may reach it at, as it says itself."""
    found = [a.split("/")[0] for i in guest.get("interfaces", []) for a in i.get("addresses", [])]
    return [a for a in found if not a.startswith(("127.", "169.254.")) and a != "::1" and not a.lower().startswith("fe80:")]
