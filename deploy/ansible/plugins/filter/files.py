# Filters that the roles need: the one file that a pattern means, settings as libvirt's files have them, addresses.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob
import os.path
import re

from ansible.errors import AnsibleFilterError
from ansible_collections.berth.berth.plugins.filter.endpoints import host_of


def one_file(pattern):
    """The one file on this machine that the pattern fits."""
    found = sorted(glob.glob(pattern))
    if len(found) == 1:
        return found[0]
    what = "nothing" if not found else "more than one file: %s" % ", ".join(found)
    raise AnsibleFilterError("%s fits %s; one package of each name is expected there" % (pattern, what))


def package_name(path):
    """The package of a file that dpkg-deb has named."""
    return os.path.basename(path).split("_")[0]


def not_installed(paths, installed):
    """Those files whose package is not there in their version; installed: lines of "status name version"."""
    there = {tuple(line.split(" ")[1:]) for line in installed if line.startswith("installed ")}
    return [path for path in paths if tuple(os.path.basename(path).split("_")[:2]) not in there]


def libvirt_value(value):
    """As libvirt reads it: text in quotes, numbers, lists."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[%s]" % ", ".join(libvirt_value(v) for v in value)
    text = str(value)
    # it knows no way to write a quote within its own kind
    quote = next((q for q in ('"', "'", '"""') if q not in text), None)
    if quote is None or "\n" in text or text.endswith('"') and quote == '"""':
        raise AnsibleFilterError("a setting of libvirt cannot be written: it has line breaks, or all kinds of quotes")
    return quote + text + quote


def plain(value):
    """Without the marks of Ansible, so that what was in a vault is written as what it is."""
    if isinstance(value, dict):
        return {plain(key): plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]+@")


def has_password(value):
    """Whether a URL in a configuration has one."""
    if isinstance(value, dict):
        return any(has_password(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_password(v) for v in value)
    return PASSWORD.search(str(value)) is not None


def address_of(variables):
    """Where others reach a machine of the inventory, without a port."""
    for name in ("berth_address", "ansible_host", "inventory_hostname"):
        if variables.get(name):
            return host_of(variables[name])
    raise AnsibleFilterError("a machine of the inventory has no address")


class FilterModule(object):
    def filters(self):
        return {
            "one_file": one_file,
            "package_name": package_name,
            "not_installed": not_installed,
            "libvirt_value": libvirt_value,
            "plain": plain,
            "address_of": address_of,
            "has_password": has_password,
        }
