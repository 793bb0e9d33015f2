# The filter that rules of a firewall need: addresses in the place of names.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import ipaddress
import re
import socket

from ansible.errors import AnsibleFilterError

# what is neither is a range or the like, as nft knows it
NAME = re.compile(r"^(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


def ip_addresses(value):
    """All addresses of a name, as the machine knows them where Ansible runs; an address stays as it is. Rules with names in them are
    not taken at boot, when no name can be resolved yet, and then nothing is kept out."""
    try:
        ipaddress.ip_network(str(value), strict=False)
        return [value]
    except ValueError:
        if not NAME.match(value):
            return [value]
    try:
        found = socket.getaddrinfo(value, None, type=socket.SOCK_STREAM)
    except socket.gaierror as e:
        raise AnsibleFilterError("%s has no address: %s. Set berth_address of that machine" % (value, e))
    return sorted(set(address[0].split("%")[0] for family, kind, protocol, name, address in found))


class FilterModule(object):
    def filters(self):
        return {"ip_addresses": ip_addresses}
