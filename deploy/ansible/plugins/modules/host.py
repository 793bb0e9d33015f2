#!/usr/bin/python
# A host of a Berth installation: added, labelled, taken out of placement, removed. Not what is installed on it.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: host
short_description: Manage hosts of a Berth installation
description:
  - Adds a host to the inventory, sets its labels, takes it out of placement and back, and removes it.
  - What runs on the host is the business of the role C(berth.berth.agent).
author: The Berth authors
extends_documentation_fragment: berth.berth.api
options:
  name:
    description: Name of the host.
    type: str
    required: true
  address:
    description: Where its agent listens. Needed to add it.
    type: str
  state:
    description:
      - C(present) adds it where it is not known; C(up) waits until its agent has reported, too.
      - C(absent) removes it; hosts with VMs, or with the only copy of an image, are refused.
    type: str
    choices: [present, up, absent]
    default: present
  labels:
    description: Labels that it shall have. Others stay.
    type: dict
    default: {}
  maintenance:
    description: Whether it is kept out of placement. VMs that run there go on.
    type: bool
  join_token:
    description:
      - C(if_needed) answers a join token when the host has not enrolled, or its certificate is not accepted; C(always) in any case.
    type: str
    choices: [never, if_needed, always]
    default: never
"""

EXAMPLES = r"""
- name: Add a host
  berth.berth.host:
    name: h1
    address: h1.example.org
    labels:
      zone: b
  delegate_to: ctl.example.org
"""

RETURN = r"""
host:
  description: The host, as the API tells of it. Absent when it is not known.
  type: dict
  returned: success
join_token:
  description: A join token, for C(berth-agent enroll). A secret.
  type: str
  returned: when one was asked for and made
"""

from ansible_collections.berth.berth.plugins.module_utils.api import BerthError, at, label_changes, run_module, state_word

NEEDS_TOKEN = ("enrolling", "certificate_fault")


def shown(host):
    """What diffs are made of."""
    if host is None:
        return {"state": "absent"}
    return {"state": "present", "labels": host.get("labels", {}), "maintenance": host.get("maintenance", False)}


def run(module, api):
    p = module.params
    before = api.find(at("hosts", p["name"]))
    if p["state"] == "absent":
        if before is not None and not module.check_mode:
            api.call("DELETE", at("hosts", p["name"]))
        return dict(changed=before is not None, diff=dict(before=shown(before), after={"state": "absent"}))
    token = None
    if before is None:
        if not p["address"]:
            raise BerthError("host %s is not known, and without an address it cannot be added" % p["name"])
        wanted = dict(state="present", labels=p["labels"], maintenance=bool(p["maintenance"]))
        if module.check_mode:
            return dict(changed=True, diff=dict(before=shown(None), after=wanted))
        labels = dict((k, str(v)) for k, v in p["labels"].items())
        made = api.call("POST", "/v1/hosts", dict(name=p["name"], address=p["address"], labels=labels))
        token = made["joinToken"]["token"]
    after = settle(module, api, before or made["host"])
    if p["state"] == "up" and not module.check_mode:
        after = api.until(lambda: is_up(api, p["name"]), "host %s is not up" % p["name"])
    result = dict(changed=shown(before) != shown(after), diff=dict(before=shown(before), after=shown(after)), host=after)
    wants = p["join_token"] == "always" or (p["join_token"] == "if_needed" and (token or needs(after)))
    if wants and not module.check_mode:
        result["join_token"] = token or api.call("POST", at("hosts", p["name"]) + "/joinTokens")["joinToken"]["token"]
        result["changed"] = True
    return result


def needs(host):
    return state_word(host["state"], "HOST_STATE_") in NEEDS_TOKEN


def is_up(api, name):
    host = api.find(at("hosts", name))
    return host if host and state_word(host["state"], "HOST_STATE_") in ("up", "maintenance") else None


def settle(module, api, host):
    """Labels and maintenance as they shall be. Answers the host as it is then, or would be."""
    p = module.params
    wanted = label_changes(host.get("labels", {}), p["labels"])
    if wanted:
        if module.check_mode:
            host = dict(host, labels=dict(host.get("labels", {}), **wanted))
        else:
            host = api.call("POST", at("hosts", p["name"]) + ":label", dict(set=wanted))
    if p["maintenance"] is not None and p["maintenance"] != host.get("maintenance", False):
        if module.check_mode:
            return dict(host, maintenance=p["maintenance"])
        said = api.call("POST", at("hosts", p["name"]) + (":drain" if p["maintenance"] else ":resume"), {})
        host = said.get("host", said)
    return host


def main():
    run_module(
        run,
        name=dict(type="str", required=True),
        address=dict(type="str"),
        state=dict(type="str", choices=["present", "up", "absent"], default="present"),
        labels=dict(type="dict", default={}),
        maintenance=dict(type="bool"),
        join_token=dict(type="str", choices=["never", "if_needed", "always"], default="never", no_log=False),
    )


if __name__ == "__main__":
    main()
