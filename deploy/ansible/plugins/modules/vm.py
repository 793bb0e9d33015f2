#!/usr/bin/python
# A virtual machine of a Berth installation: made, changed, switched on and off, removed.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: vm
short_description: Manage virtual machines of a Berth installation
description:
  - Makes a VM from an image or with a blank disk, changes its CPUs, memory and labels, switches it on and off, and removes it.
  - What only counts when a VM is made (image, disk size, address, keys, host) is not compared later.
author: The Berth authors
extends_documentation_fragment: berth.berth.api
options:
  name:
    description: Name of the VM.
    type: str
    required: true
  state:
    description:
      - C(present) leaves it on or off. C(stopped) shuts it down, C(absent) removes it with its disks.
      - What another has begun with it (it starts, stops, is being made or removed) is waited for first.
    type: str
    choices: [present, running, stopped, absent]
    default: present
  image:
    description: Image that it is cloned from. Nothing means a blank disk.
    type: str
    default: ""
  disk_size:
    description: Size of its first disk. Needed without an image.
    type: str
  vcpus:
    description: Virtual CPUs. Nothing said leaves them as they are, or to the image.
    type: int
  memory:
    description: Memory, such as C(2GiB). Nothing said leaves it as it is, or to the image.
    type: str
  host:
    description: Host on which it is made. Nothing means that Berth chooses.
    type: str
    default: ""
  bridge:
    description: Bridge of its network card.
    type: str
    default: ""
  network:
    description: Network that its network card is in, instead of a bridge.
    type: str
    default: ""
  ip_address:
    description: Address of the guest with its prefix, C(10.0.0.5/24).
    type: str
    default: ""
  gateway:
    description: Its gateway.
    type: str
    default: ""
  ssh_keys:
    description: Public keys that the guest accepts.
    type: list
    elements: str
    default: []
  labels:
    description: Labels that it shall have. Others stay.
    type: dict
    default: {}
  force:
    description:
      - Whether it may be switched off hard when it has to be stopped or removed and does not obey.
      - With C(absent), also whether it is forgotten while its host does not answer; it is removed there when the host comes back.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: A web server that runs
  berth.berth.vm:
    name: web
    image: debian
    memory: 2GiB
    vcpus: 2
    ip_address: 10.0.0.5/24
    state: running
"""

RETURN = r"""
vm:
  description: The VM, as the API tells of it.
  type: dict
  returned: when it is there
"""

from ansible_collections.berth.berth.plugins.module_utils.api import (
    BerthError,
    at,
    label_changes,
    run_module,
    size_bytes,
    state_word,
)

# what each state means for who switches it on and off; not known while its host does not answer
POWER = dict(running="on", starting="on", stopping="on", paused="paused", saved="saved", unknown="unknown")
# it is on its way to another
PASSING = ("creating", "starting", "stopping", "deleting")
FIELDS = dict(ip_address="address", gateway="gateway", ssh_keys="sshKeys", host="host", bridge="bridge")


def state_of(vm):
    return state_word(vm["state"], "VM_STATE_")


def shown(vm):
    if vm is None:
        return {"state": "absent"}
    spec = vm["spec"]
    return dict(
        power=POWER.get(state_of(vm), "off"),
        vcpus=spec["vcpus"],
        memory_bytes=int(spec["memoryBytes"]),
        labels=spec.get("labels", {}),
    )


def make(module, api):
    p = module.params
    request = dict(name=p["name"], labels=dict((k, str(v)) for k, v in p["labels"].items()), dryRun=module.check_mode)
    if p["vcpus"] is not None:
        request["vcpus"] = p["vcpus"]
    if p["memory"]:
        request["memoryBytes"] = str(size_bytes(p["memory"]))
    if p["disk_size"]:
        request["diskSizeBytes"] = str(size_bytes(p["disk_size"]))
    if p["network"]:
        request["spec"] = dict(nics=[dict(network=p["network"])])
        if module.check_mode and api.find(at("networks", p["network"])) is None:
            return not_yet(request)
    if p["image"]:
        request.update((api_name, p[name]) for name, api_name in FIELDS.items() if p[name])
        if module.check_mode and api.find(at("images", p["image"])) is None:
            return not_yet(request)
        said = api.call("POST", "/v1/vms:clone", dict(request, image=p["image"]))
    elif not p["disk_size"]:
        raise BerthError("vm %s is not known, and without image or disk_size it cannot be made" % p["name"])
    else:
        request.update((name, p[name]) for name in ("host", "bridge") if p[name])
        said = api.call("POST", "/v1/vms", request)
    if module.check_mode:
        return said["vm"]
    api.finish(said)
    return api.call("GET", at("vms", p["name"]))


def not_yet(request):
    """What a VM would be whose image or network is only made by an earlier task of the same play."""
    memory = request.get("memoryBytes", 0)
    spec = dict(vcpus=request.get("vcpus", 1), memoryBytes=memory, labels=request["labels"])
    return dict(name=request["name"], state="VM_STATE_STOPPED", spec=spec)


def change(module, api, vm):
    """CPUs, memory and labels. Answers the VM as it is then, or would be."""
    p, path = module.params, at("vms", module.params["name"])
    spec = dict(vm["spec"])
    if p["vcpus"] is not None:
        spec["vcpus"] = p["vcpus"]
    if p["memory"]:
        spec["memoryBytes"] = str(size_bytes(p["memory"]))
    if (spec["vcpus"], str(spec["memoryBytes"])) != (vm["spec"]["vcpus"], str(vm["spec"]["memoryBytes"])):
        request = dict(spec=spec, generation=vm["generation"], dryRun=module.check_mode)
        said = api.call("PATCH", path, request)
        if module.check_mode:
            vm = dict(vm, spec=spec)
        else:
            api.finish(said)
            vm = api.call("GET", path)
    wanted = label_changes(vm["spec"].get("labels", {}), p["labels"])
    if wanted and module.check_mode:
        return dict(vm, spec=dict(vm["spec"], labels=dict(vm["spec"].get("labels", {}), **wanted)))
    return api.call("POST", path + ":label", dict(set=wanted)) if wanted else vm


def settled(module, api, vm):
    """The VM once nothing is under way with it: None when it is gone then."""
    if state_of(vm) not in PASSING or module.check_mode:
        return vm
    path, name = at("vms", vm["name"]), vm["name"]

    def look():
        now = api.find(path)
        return (now,) if now is None or state_of(now) not in PASSING else None

    return api.until(look, "vm %s is %s still" % (name, state_of(vm)))[0]


def stop(module, api, vm):
    how = {}
    if module.params["force"]:
        # a guest whose CPUs stand still hears no power button
        how = {"force": True} if state_of(vm) in ("paused", "starting") else {"then": "force"}
    api.finish(api.call("POST", at("vms", vm["name"]) + ":stop", how))


def power(module, api, vm):
    """On or off. Answers the VM as it is then, or would be."""
    wanted, is_now, path = module.params["state"], POWER.get(state_of(vm), "off"), at("vms", vm["name"])
    if wanted == "present" or (wanted == "running" and is_now == "on") or (wanted == "stopped" and is_now in ("off", "saved")):
        return vm
    if is_now == "unknown":
        raise BerthError("vm %s is unknown: its host does not answer, and nobody can say whether it runs" % vm["name"])
    if module.check_mode:
        return dict(vm, state="VM_STATE_RUNNING" if wanted == "running" else "VM_STATE_STOPPED")
    if wanted == "stopped":
        stop(module, api, vm)
    else:
        api.finish(api.call("POST", path + (":resume" if is_now == "paused" else ":start"), {}))
    return api.call("GET", path)


def remove(module, api, vm):
    """With its disks; shut down first where it is on."""
    force, path = module.params["force"], at("vms", vm["name"])
    if POWER.get(state_of(vm)) in ("on", "paused"):
        stop(module, api, vm)
    api.finish(api.call("DELETE", path, query=dict(force="true") if force else None))


def run(module, api):
    if module.params["vcpus"] is not None and module.params["vcpus"] < 1:
        raise BerthError("vm %s: vcpus is %d, and has to be 1 or more" % (module.params["name"], module.params["vcpus"]))
    before = api.find(at("vms", module.params["name"]))
    # what is not to be waited for may be taken by force
    now = before and (before if module.params["force"] else settled(module, api, before))
    if module.params["state"] == "absent":
        if now and not module.check_mode:
            remove(module, api, now)
        return dict(changed=before is not None, diff=dict(before=shown(before), after={"state": "absent"}))
    after = power(module, api, change(module, api, now) if now else make(module, api))
    return dict(changed=shown(before) != shown(after), diff=dict(before=shown(before), after=shown(after)), vm=after)


def main():
    run_module(
        run,
        name=dict(type="str", required=True),
        state=dict(type="str", choices=["present", "running", "stopped", "absent"], default="present"),
        image=dict(type="str", default=""),
        disk_size=dict(type="str"),
        vcpus=dict(type="int"),
        memory=dict(type="str"),
        host=dict(type="str", default=""),
        bridge=dict(type="str", default=""),
        network=dict(type="str", default=""),
        ip_address=dict(type="str", default=""),
        gateway=dict(type="str", default=""),
        ssh_keys=dict(type="list", elements="str", default=[], no_log=False),
        labels=dict(type="dict", default={}),
        force=dict(type="bool", default=False),
    )


if __name__ == "__main__":
    main()
