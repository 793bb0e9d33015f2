# The options that all modules of this collection have, and nothing else.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type


class ModuleDocFragment(object):
    DOCUMENTATION = r"""
options:
  login_file:
    description:
      - File on the machine where the module runs that holds a login line, as C(berth token create) and
        C(berth-controller init) make it. It says where the controller is, and is a secret.
      - The default is that of the controller's own machine, so delegate to it, or copy both files.
    type: path
    default: /var/lib/berth-controller/admin-token
  ca_file:
    description: The certificate of the installation's CA. It is no secret.
    type: path
    default: /var/lib/berth-controller/trust/ca.pem
  api_host:
    description:
      - Where the JSON API is reached, when not at the host that the login line names. C(localhost) for a controller whose
        C(httpListen) is on loopback; the module has to run on its machine then.
    type: str
  api_port:
    description: Port of the JSON API, where it is not as far above that of gRPC as 7480 is above 7443.
    type: int
  wait_seconds:
    description: How long the module waits for a job of Berth, or for a state.
    type: int
    default: 300
requirements:
  - Python 3.6 or newer, without further libraries
"""
