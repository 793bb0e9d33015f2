# Filters that look into files of packages: what dpkg would note of them, held against what it has noted.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import hashlib
import io
import os.path
import tarfile

from ansible.errors import AnsibleFilterError

# dpkg keeps these of an installed package as they are; md5sums has a line for every file of it but those of configuration
NOTES = ("md5sums", "conffiles", "preinst", "postinst", "prerm", "postrm", "triggers")


def control_of(path):
    """The archive inside that tells of the package, as bytes. A .deb is an ar archive: headers of 60 bytes, members of even length."""
    with open(path, "rb") as deb:
        if deb.read(8) == b"!<arch>\n":
            while True:
                head = deb.read(60)
                if len(head) < 60:
                    break
                size = int(head[48:58])
                if head.startswith(b"control.tar"):
                    return deb.read(size)
                deb.seek(size + size % 2, os.SEEK_CUR)
    raise AnsibleFilterError("%s is no package of Debian" % path)


def notes_of(path):
    """What dpkg notes of a package, as name: SHA-1."""
    try:
        with tarfile.open(fileobj=io.BytesIO(control_of(path))) as control:
            members = [(os.path.basename(m.name), control.extractfile(m).read()) for m in control if m.isfile()]
    except tarfile.TarError as e:
        raise AnsibleFilterError("%s cannot be looked into: %s" % (path, e))
    return {name: hashlib.sha1(text).hexdigest() for name, text in members if name in NOTES}


def built_again(paths, noted):
    """Those files that hold other than what is installed; noted: what the module find has found of dpkg's notes, with checksums."""
    there = {os.path.basename(note["path"]): note["checksum"] for note in noted}
    found = []
    for path in paths:
        package = os.path.basename(path).split("_")[0]
        known = {name: there["%s.%s" % (package, name)] for name in NOTES if "%s.%s" % (package, name) in there}
        if notes_of(path) != known:
            found.append(path)
    return found


class FilterModule(object):
    def filters(self):
        return {"built_again": built_again}
