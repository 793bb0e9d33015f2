"""The main job, as somebody else's program does it: a gRPC client made from the protos by Debian's own protoc, and nothing of Berth's.

usage: main_job.py add-host NAME ADDRESS          prints the join token
       main_job.py main-job IMAGE-FILE            lists hosts, imports, clones, starts, stops, deletes; one line each

Where the controller is, its CA and the token come from the environment: BERTH_CONTROLLER, BERTH_CA_FILE, BERTH_TOKEN_FILE.
"""

import os
import sys

import grpc

from berth.v1 import (
    common_pb2,
    event_pb2,
    event_pb2_grpc,
    host_pb2,
    host_pb2_grpc,
    image_pb2,
    image_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    vm_pb2,
    vm_pb2_grpc,
)

CHUNK = 256 * 1024
TIMEOUT = 120


def read(name):
    with open(os.environ[name], "rb") as f:
        return f.read()


def connect():
    tls = grpc.ssl_channel_credentials(root_certificates=read("BERTH_CA_FILE"))
    token = grpc.access_token_call_credentials(read("BERTH_TOKEN_FILE").decode().strip())
    return grpc.secure_channel(os.environ["BERTH_CONTROLLER"], grpc.composite_channel_credentials(tls, token))


def add_host(channel, name, address):
    hosts = host_pb2_grpc.HostServiceStub(channel)
    made = hosts.CreateHost(host_pb2.CreateHostRequest(name=name, address=address, labels={"by": "python"}))
    print(made.join_token.token)


def ended(channel, job_id):
    """Follows the job; returns how it ended."""
    jobs = job_pb2_grpc.JobServiceStub(channel)
    last = None
    for last in jobs.WatchJob(job_pb2.WatchJobRequest(job=job_id), timeout=TIMEOUT):
        pass
    if last.state != job_pb2.JOB_STATE_SUCCEEDED:
        raise SystemExit(f"{last.kind} {last.subject}: {job_pb2.JobState.Name(last.state)} {last.error}")
    return f"{last.kind} {last.subject}"


def pieces(image_id, ticket, path):
    begin = image_pb2.UploadBegin(image_id=image_id, ticket=ticket)
    yield image_pb2.UploadImageRequest(begin=begin)
    with open(path, "rb") as f:
        while data := f.read(CHUNK):
            yield image_pb2.UploadImageRequest(data=data)


def list_hosts(channel):
    """In pages of one, to see that pages fit together."""
    hosts = host_pb2_grpc.HostServiceStub(channel)
    token = ""
    while True:
        page = common_pb2.PageRequest(page_size=1, page_token=token)
        answer = hosts.ListHosts(host_pb2.ListHostsRequest(page=page))
        for h in answer.hosts:
            print("host", h.name, host_pb2.HostState.Name(h.state), dict(h.labels).get("by"))
        token = answer.next_page_token
        if not token:
            return


def main_job(channel, path):
    images = image_pb2_grpc.ImageServiceStub(channel)
    vms = vm_pb2_grpc.VmServiceStub(channel)
    list_hosts(channel)

    size = os.path.getsize(path)
    made = images.ImportImage(image_pb2.ImportImageRequest(name="base", file_bytes=size))
    sent = images.UploadImage(pieces(made.image.id, made.upload_ticket, path), timeout=TIMEOUT)
    print("sent", sent.received_bytes == size)
    print("done", ended(channel, made.job_id))

    cloned = vms.CloneVm(vm_pb2.CloneVmRequest(image="base", name="snake", memory_bytes=64 << 20))
    print("done", ended(channel, cloned.job_id))
    print("done", ended(channel, vms.StartVm(vm_pb2.StartVmRequest(vm="snake")).job_id))
    vm = vms.GetVm(vm_pb2.GetVmRequest(vm="snake"))
    print("vm", vm.name, vm_pb2.VmState.Name(vm.state), vm.spec.memory_bytes)

    try:
        vms.DeleteVm(vm_pb2.DeleteVmRequest(vm="snake"))
    except grpc.RpcError as e:
        trailers = dict(e.trailing_metadata())
        print("refused", e.code().name, trailers["berth-reason"], trailers["berth-retry"])

    stop = vm_pb2.StopVmRequest(vm="snake", timeout_ms=30_000, then_force=True)
    print("done", ended(channel, vms.StopVm(stop).job_id))
    print("done", ended(channel, vms.DeleteVm(vm_pb2.DeleteVmRequest(vm="snake")).job_id))
    print("done", ended(channel, images.DeleteImage(image_pb2.DeleteImageRequest(image="base")).job_id))
    print("left", len(vms.ListVms(vm_pb2.ListVmsRequest()).vms), len(images.ListImages(image_pb2.ListImagesRequest()).images))

    events = event_pb2_grpc.EventServiceStub(channel)
    for event in events.WatchEvents(event_pb2.WatchEventsRequest(after_revision=1), timeout=TIMEOUT):
        if event.type.startswith("vm.delet"):
            print("event", event.subject_kind, event.subject)
            break


if __name__ == "__main__":
    with connect() as it:
        {"add-host": add_host, "main-job": main_job}[sys.argv[1]](it, *sys.argv[2:])
