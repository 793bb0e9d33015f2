# Filters that the ports of a firewall need: from what it lets pass to what it is to be told.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type


def firewalld_commands(asked, is_open):
    """asked: the registered answers to --query-port, one for now and one for after a boot; skipped where there is no firewalld."""
    option = "--add-port" if is_open else "--remove-port"
    return [
        ["firewall-cmd"] + answer["item"][0] + [option, "%s/tcp" % answer["item"][1]]
        for answer in asked.get("results", [])
        if "rc" in answer and (answer["rc"] == 0) != bool(is_open)
    ]


def ufw_commands(asked, ports, is_open):
    """asked: the registered answer to "show added"; skipped where there is no ufw."""
    if "rc" not in asked:
        return []
    there = asked.get("stdout_lines", [])
    wanted = ["allow"] if is_open else ["delete", "allow"]
    return [["ufw"] + wanted + ["%s/tcp" % port] for port in ports if ("ufw allow %s/tcp" % port in there) != bool(is_open)]


class FilterModule(object):
    def filters(self):
        return {"firewalld_commands": firewalld_commands, "ufw_commands": ufw_commands}
