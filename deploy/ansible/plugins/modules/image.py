#!/usr/bin/python
# An image of a Berth installation: imported from a file, tagged, removed.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: image
short_description: Manage disk images of a Berth installation
description:
  - Imports a disk image from a file, gives it tags, and removes it.
  - Images are immutable. One that is there under its name is left as it is; a new content is a new version, C(debian:12.4).
author: The Berth authors
extends_documentation_fragment: berth.berth.api
options:
  name:
    description: Name of the image, with a version where it has one.
    type: str
    required: true
  src:
    description: File on the machine where the module runs. Needed to import it.
    type: path
  format:
    description: C(raw) accepts a raw image that cannot be recognised. Nothing means that its format is found out.
    type: str
    default: ""
  host:
    description: Host that receives it. Nothing means the one with the most room.
    type: str
    default: ""
  tags:
    description: Tags that it shall have. Others stay.
    type: list
    elements: str
    default: []
  state:
    description: Whether it is there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Import an image
  berth.berth.image:
    name: debian:12.3
    src: /srv/images/debian-12.3.qcow2
    tags: [stable]
"""

RETURN = r"""
image:
  description: The image, as the API tells of it.
  type: dict
  returned: when it is there
"""

import os

from ansible_collections.berth.berth.plugins.module_utils.api import BerthError, at, run_module


def shown(image):
    return {"state": "absent"} if image is None else {"state": "present", "tags": sorted(image.get("tags", []))}


def import_file(module, api):
    p = module.params
    if not p["src"] or not os.path.isfile(p["src"]):
        raise BerthError("image %s is not known, and src %s is no file" % (p["name"], p["src"] or "(none)"))
    if not os.access(p["src"], os.R_OK):
        raise BerthError("image %s: src %s cannot be read by this user" % (p["name"], p["src"]))
    if module.check_mode:
        return dict(tags=list(p["tags"]))
    request = dict(name=p["name"], fileBytes=str(os.path.getsize(p["src"])), format=p["format"], host=p["host"])
    begun = api.call("POST", "/v1/images:import", request)
    api.upload(at("images", begun["image"]["id"]) + ":upload", p["src"], begun["uploadTicket"])
    api.finish(begun)
    return api.call("GET", at("images", p["name"]))


def run(module, api):
    p = module.params
    before = api.find(at("images", p["name"]))
    if p["state"] == "absent":
        if before is not None and not module.check_mode:
            api.finish(api.call("DELETE", at("images", p["name"])))
        return dict(changed=before is not None, diff=dict(before=shown(before), after={"state": "absent"}))
    after = before or import_file(module, api)
    missing = [tag for tag in p["tags"] if tag not in after.get("tags", [])]
    if missing:
        if module.check_mode:
            after = dict(after, tags=after.get("tags", []) + missing)
        else:
            after = api.call("POST", at("images", p["name"]) + ":tag", dict(tags=missing))
    return dict(changed=shown(before) != shown(after), diff=dict(before=shown(before), after=shown(after)), image=after)


def main():
    run_module(
        run,
        name=dict(type="str", required=True),
        src=dict(type="path"),
        format=dict(type="str", default=""),
        host=dict(type="str", default=""),
        tags=dict(type="list", elements="str", default=[]),
        state=dict(type="str", choices=["present", "absent"], default="present"),
    )


if __name__ == "__main__":
    main()
