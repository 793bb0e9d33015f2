# Filters for where daemons are reached: a host with its port, and the two apart.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import ipaddress
import re

WITH_PORT = re.compile(r"^(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>\d{1,5})$")
LOOPBACK = re.compile(r"^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$")


def parts(text):
    """Host and port of a text; no port is None. Colons of an address of IPv6 without brackets are none before a port."""
    text = str(text).strip()
    found = WITH_PORT.match(text)
    return (found.group("host").strip("[]"), int(found.group("port"))) if found else (text.strip("[]"), None)


def host_of(text):
    """h1 of h1:7444, fd00::1 of [fd00::1]:7444; what has no port as it is."""
    return parts(text)[0]


def port_of(text, otherwise):
    """7500 of 0.0.0.0:7500, of what has no port the other."""
    port = parts(text or "")[1]
    return int(otherwise) if port is None else port


def endpoint(text, otherwise):
    """h1 as h1:7444, fd00::1 as [fd00::1]:7444; what has a port as it is."""
    host, port = parts(text)
    try:
        host = "[%s]" % host if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        pass
    return "%s:%d" % (host, int(otherwise) if port is None else port)


def controller_ports(config):
    """Of gRPC and of JSON, by the configuration of a controller; httpListen is not "off" here."""
    grpc = port_of(config.get("listen"), 7443)
    return [grpc, port_of(config.get("httpListen"), grpc + 7480 - 7443)]


def controller_api_host(config):
    """Where the JSON API is reached on the controller's machine when it listens for nobody else; empty: where everybody reaches it."""
    host = host_of(config.get("httpListen") or config.get("listen") or "")
    return host if is_loopback(host) else ""


def controller_open_ports(config):
    """Those of controller_ports that others reach."""
    grpc, json = controller_ports(config)
    return ([] if is_loopback(config.get("listen") or "") else [grpc]) + ([] if controller_api_host(config) else [json])


def is_loopback(text):
    return LOOPBACK.match(host_of(text)) is not None


class FilterModule(object):
    def filters(self):
        return {
            "host_of": host_of,
            "port_of": port_of,
            "endpoint": endpoint,
            "controller_ports": controller_ports,
            "controller_api_host": controller_api_host,
            "controller_open_ports": controller_open_ports,
            "is_loopback": is_loopback,
        }
