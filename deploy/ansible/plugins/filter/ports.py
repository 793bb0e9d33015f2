# Filters that the ports of a firewall need: from what it lets pass to what it is to be told.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type


def firewalld_commands(asked, wanted):
    """asked: the registered answers to --query-port, one for now and one for after a boot; skipped where there is no firewalld.
    Of the ports that were asked about those that are wanted are opened, and the others shut."""
    commands = []
    for answer in asked.get("results", []):
        when, port = answer["item"]
        if "rc" in answer and (answer["rc"] == 0) != (port in wanted):
            option = "--add-port" if port in wanted else "--remove-port"
            commands.append(["firewall-cmd"] + when + [option, "%s/tcp" % port])
    return commands


def ufw_commands(asked, ports, wanted):
    """asked: the registered answer to "show added"; skipped where there is no ufw. Of the ports those that are wanted are opened, and
    the others shut."""
    if "rc" not in asked:
        return []
    there = asked.get("stdout_lines", [])
    differ = [port for port in ports if ("ufw allow %s/tcp" % port in there) != (port in wanted)]
    return [["ufw"] + (["allow"] if port in wanted else ["delete", "allow"]) + ["%s/tcp" % port] for port in differ]


class FilterModule(object):
    def filters(self):
        return {"firewalld_commands": firewalld_commands, "ufw_commands": ufw_commands}
