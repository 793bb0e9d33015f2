# The filter that says what Berth calls a host whose inventory does not say it.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import ipaddress
import re

from ansible.errors import AnsibleFilterError


def label_of(machine):
    """A name of the inventory as a DNS label: h1.example.org is h1, an address is all of itself."""
    try:
        ipaddress.ip_address(machine)
    except ValueError:
        machine = machine.split(".")[0]
    return re.sub(r"[._:]", "-", machine).strip("-").lower()


def host_name_in(variables, machines, machine):
    """variables: hostvars; machines: all hosts. Two that would have one name are none: the second would take the place of the first."""
    name = label_of(machine)
    same = [m for m in machines if m != machine and (variables[m].get("berth_host_name") or label_of(m)) == name]
    if same:
        raise AnsibleFilterError(
            "%s and %s would both be host %s of Berth: give each a berth_host_name of its own in the inventory" % (machine, same[0], name)
        )
    return name


class FilterModule(object):
    def filters(self):
        return {"host_name_in": host_name_in}
