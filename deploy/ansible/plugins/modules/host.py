#!/usr/bin/python
# A host of a Berth installation: added, labelled, taken out of placement, removed. Not what is installed on it.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: host
short_description: Manage hosts of a Berth installation
description:
  - Adds a host to the inventory, sets its address and labels, takes it out of placement and back, and removes it.
  - What runs on the host is the business of the role C(berth.berth.agent).
author: The Berth authors
extends_documentation_fragment: berth.berth.api
options:
  name:
    description: Name of the host.
    type: str
    required: true
  address:
    description: Where its agent is reached. Needed to add it. Nothing said leaves it as it is.
    type: str
  state:
    description:
      - C(present) adds it where it is not known; C(up) waits until its agent has reported, too.
      - C(absent) removes it; hosts with VMs, or with the only copy of an image, are refused.
    type: str
    choices: [present, up, absent]
    default: present
  force:
    description: Whether C(absent) forgets a host that is gone for good, with all that is on it. One that is up is refused all the same.
    type: bool
    default: false
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
  description: A join token, for C(berth-agent enroll). A secret, so such a task wants C(no_log).
  type: str
  returned: when one was asked for and made
"""

import ipaddress

from ansible_collections.berth.berth.plugins.module_utils.api import BerthError, at, label_changes, run_module, state_word

NEEDS_TOKEN = ("enrolling", "certificate_fault")
AGENT_PORT = 7444


def shown(host):
    """What diffs are made of."""
    if host is None:
        return {"state": "absent"}
    fields = {"state": "present", "labels": host.get("labels", {}), "maintenance": host.get("maintenance", False)}
    return dict(fields, address=host["address"])


def spelt(address):
    """As the API tells of it; what is none goes there as it is, and is refused."""
    text = address.strip().lower()
    try:
        return "%s:%d" % ("[%s]" % text if ipaddress.ip_address(text).version == 6 else text, AGENT_PORT)
    except ValueError:
        return text if ":" in text else "%s:%d" % (text, AGENT_PORT)


def remove(module, api, before):
    force = module.params["force"]
    if before is not None and not module.check_mode:
        api.call("DELETE", at("hosts", before["name"]), query=dict(force="true") if force else None)
    return dict(changed=before is not None, diff=dict(before=shown(before), after={"state": "absent"}))


def make(module, api):
    """Answers the new host, and its join token; in check mode what it would be, and none."""
    p = module.params
    if not p["address"]:
        raise BerthError("host %s is not known, and without an address it cannot be added" % p["name"])
    labels = dict((k, str(v)) for k, v in p["labels"].items())
    if module.check_mode:
        return dict(name=p["name"], address=spelt(p["address"]), state="HOST_STATE_ENROLLING", labels=labels), None
    made = api.call("POST", "/v1/hosts", dict(name=p["name"], address=p["address"], labels=labels))
    return made["host"], made["joinToken"]["token"]


def run(module, api):
    p = module.params
    before = api.find(at("hosts", p["name"]))
    if p["state"] == "absent":
        return remove(module, api, before)
    made, token = (before, None) if before is not None else make(module, api)
    after = settle(module, api, made)
    if p["state"] == "up" and not module.check_mode:
        after = wait_up(api, p["name"])
    result = dict(changed=shown(before) != shown(after), diff=dict(before=shown(before), after=shown(after)), host=after)
    if p["join_token"] == "always" or (p["join_token"] == "if_needed" and (token or needs(after))):
        result["changed"] = True
        if not module.check_mode:
            result["join_token"] = token or api.call("POST", at("hosts", p["name"]) + "/joinTokens")["joinToken"]["token"]
    return result


def needs(host):
    return state_word(host["state"], "HOST_STATE_") in NEEDS_TOKEN


def wait_up(api, name):
    """Answers the host once its agent has reported; what it was until then is told when the time is over."""
    seen = {}

    def look():
        host = api.find(at("hosts", name))
        seen.update(host or {})
        return host if host and state_word(host["state"], "HOST_STATE_") in ("up", "maintenance") else None

    try:
        return api.until(look, "host %s is not up" % name)
    except BerthError as e:
        if not seen:
            raise
        word = state_word(seen["state"], "HOST_STATE_").replace("_", " ")
        why = seen.get("stateReason") or "see berth host show %s" % name
        raise BerthError("%s. It is %s at %s: %s" % (e, word, seen["address"], why), e.reason)


def settle(module, api, host):
    """Address, labels and maintenance as they shall be. Answers the host as it is then, or would be."""
    p, path = module.params, at("hosts", module.params["name"])
    if p["address"] and spelt(p["address"]) != host["address"]:
        moved = dict(host, address=spelt(p["address"]))
        host = moved if module.check_mode else api.call("PATCH", path, dict(address=p["address"]))
    wanted = label_changes(host.get("labels", {}), p["labels"])
    if wanted:
        labelled = dict(host, labels=dict(host.get("labels", {}), **wanted))
        host = labelled if module.check_mode else api.call("POST", path + ":label", dict(set=wanted))
    if p["maintenance"] is not None and p["maintenance"] != host.get("maintenance", False):
        if module.check_mode:
            return dict(host, maintenance=p["maintenance"])
        said = api.call("POST", path + (":drain" if p["maintenance"] else ":resume"), {})
        host = said.get("host", said)
    return host


def main():
    run_module(
        run,
        name=dict(type="str", required=True),
        address=dict(type="str"),
        state=dict(type="str", choices=["present", "up", "absent"], default="present"),
        force=dict(type="bool", default=False),
        labels=dict(type="dict", default={}),
        maintenance=dict(type="bool"),
        join_token=dict(type="str", choices=["never", "if_needed", "always"], default="never", no_log=False),
    )


if __name__ == "__main__":
    main()
