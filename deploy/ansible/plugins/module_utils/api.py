# A thin client of Berth's JSON API: one call, waiting for a job, and the words of its errors. It knows no object.
# SPDX-License-Identifier: Apache-2.0
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import http.client
import json
import os
import re
import ssl
import time
from urllib.parse import quote, urlencode

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = dict(
    login_file=dict(type="path", default="/var/lib/berth-controller/admin-token"),
    ca_file=dict(type="path", default="/var/lib/berth-controller/trust/ca.pem"),
    api_host=dict(type="str"),
    api_port=dict(type="int"),
    wait_seconds=dict(type="int", default=300),
)
HTTP_ABOVE_GRPC = 7480 - 7443
ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_STUCK")
POLL_SECONDS = 0.5
BLOCK = 1 << 20


class BerthError(Exception):
    """What the controller, or the way to it, has to say, in words for people; reason is that of Berth's table of errors."""

    def __init__(self, message, reason=""):
        super(BerthError, self).__init__(message)
        self.reason = reason


def read_login(path):
    """Answers host, port of gRPC, and the token of a login line."""
    try:
        with open(path) as f:
            line = f.read().strip()
        kind, version, text = line.split(":")
        if (kind, version) != ("berth-login", "1"):
            raise ValueError()
        login = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        host, port = login["controller"].rsplit(":", 1)
        return host.strip("[]"), int(port), login["token"]
    except (IOError, OSError) as e:
        raise BerthError("the login file cannot be read: %s" % e)
    except (ValueError, KeyError):
        raise BerthError("%s is no login line: it begins with berth-login:1:, see berth token create" % path)


def what_to_try(error):
    """Nobody listens there: words about where else."""
    if not isinstance(error, ConnectionRefusedError):
        return ""
    return ". Does it run? Where its httpListen is on loopback, api_host: localhost on its own machine; where it has another port, api_port"


class Api(object):
    def __init__(self, login_file, ca_file, api_host=None, api_port=None, wait_seconds=300):
        host, grpc_port, self.token = read_login(login_file)
        self.host = api_host or host
        self.port = api_port or grpc_port + HTTP_ABOVE_GRPC
        self.wait_seconds = wait_seconds
        try:
            self.tls = ssl.create_default_context(cafile=ca_file)
        except (IOError, OSError) as e:
            raise BerthError("the CA file %s cannot be used: %s" % (ca_file, e))

    def call(self, method, path, body=None, headers=None, query=None):
        """One request. Answers what it says; BerthError otherwise."""
        sent = dict({"authorization": "Bearer " + self.token}, **(headers or {}))
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent["content-type"] = "application/json"
        if query:
            path += "?" + urlencode(query)
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=120)
        try:
            try:
                connection.request(method, path, body=body, headers=sent)
            except (BrokenPipeError, ConnectionResetError):
                pass  # who refuses a file need not wait for its end: the answer may be there already
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, ssl.SSLError, http.client.HTTPException) as e:
            raise BerthError("the controller at %s:%d does not answer: %s%s" % (self.host, self.port, e, what_to_try(e)), "UNREACHABLE")
        finally:
            connection.close()
        return self._understood(answer.status, text)

    @staticmethod
    def _understood(status, text):
        try:
            said = json.loads(text or b"{}")
        except ValueError:
            raise BerthError("the controller answered with status %d and no JSON" % status)
        if status < 300:
            return said
        error = said.get("error", {})
        raise BerthError(error.get("message", "the controller answered with status %d" % status), error.get("reason", ""))

    def find(self, path):
        """As call("GET"), but None when there is no such object."""
        try:
            return self.call("GET", path)
        except BerthError as e:
            if e.reason == "NOT_FOUND":
                return None
            raise

    def list(self, path, field, query=None):
        """All pages of a list."""
        found, token = [], ""
        while True:
            page = self.call("GET", path, query=dict(query or {}, pageToken=token) if token else query)
            found.extend(page.get(field, []))
            token = page.get("nextPageToken", "")
            if not token:
                return found

    def finish(self, answer):
        """Waits until the job of an answer has ended well."""
        job_id = answer.get("jobId", "")
        if not job_id:
            return
        job = self.until(lambda: self._ended(job_id), "job %s has not ended" % job_id)
        if job["state"] != "JOB_STATE_SUCCEEDED":
            words = job.get("error") or "see berth job show %s" % job_id
            raise BerthError("%s: %s" % (job.get("kind", job_id), words), job.get("errorReason", ""))

    def _ended(self, job_id):
        job = self.call("GET", "/v1/jobs/" + quote(job_id))
        return job if job.get("state") in ENDED else None

    def until(self, look, failure):
        """Looks again and again until there is something; what goes wrong meanwhile is told when the time is over."""
        deadline = time.time() + self.wait_seconds
        why = ""
        while time.time() < deadline:
            try:
                found = look()
                if found:
                    return found
                why = ""
            except BerthError as e:
                if e.reason != "UNREACHABLE":
                    raise
                why = ": %s" % e
            time.sleep(POLL_SECONDS)
        raise BerthError("%s after %d s%s" % (failure, self.wait_seconds, why))

    def upload(self, path, file, ticket):
        """Sends a file as it is."""
        try:
            f = open(file, "rb")
        except (IOError, OSError) as e:
            raise BerthError("the file cannot be read: %s" % e)
        with f:
            headers = {"berth-ticket": ticket, "content-length": str(os.path.getsize(file))}
            return self.call("PUT", path, body=iter(lambda: f.read(BLOCK), b""), headers=headers)


def of_module(module):
    """An Api with the parameters of a module."""
    return Api(*[module.params[name] for name in ("login_file", "ca_file", "api_host", "api_port", "wait_seconds")])


def run_module(run, **arguments):
    """What all modules are: run(module, api) answers what is told; what Berth refuses is a failure in its own words."""
    module = AnsibleModule(argument_spec=dict(ARGUMENTS, **arguments), supports_check_mode=True)
    try:
        module.exit_json(**run(module, of_module(module)))
    except BerthError as e:
        module.fail_json(msg=str(e), reason=e.reason)


def at(kind, name):
    return "/v1/%s/%s" % (kind, quote(name, safe=""))


def state_word(state, prefix):
    """VM_STATE_RUNNING -> running."""
    return state[len(prefix):].lower() if state.startswith(prefix) else state.lower()


def label_changes(now, wanted):
    """What has to be set so that `wanted` holds; others stay."""
    return dict((k, str(v)) for k, v in wanted.items() if now.get(k) != str(v))


UNITS = dict((unit, 1024 ** (i + 1)) for i, unit in enumerate("kmgt"))
UNITS.update((unit + "ib", size) for unit, size in list(UNITS.items()))
# as the command line reads them: a letter alone is binary, KB and the like are not
UNITS.update((unit + "b", 1000 ** (i + 1)) for i, unit in enumerate("kmgt"))
UNITS.update({"": 1, "b": 1})
SIZE = re.compile(r"^(\d{1,16}(?:\.\d{1,6})?)\s*([a-z]{0,3})$")


def size_bytes(text):
    """512MiB, 20GiB, 1g or a number of bytes."""
    found = SIZE.match(str(text).strip().lower())
    if not found or found.group(2) not in UNITS:
        raise BerthError("%s is no size: 512MiB or 20GiB is expected" % text)
    return int(float(found.group(1)) * UNITS[found.group(2)])
