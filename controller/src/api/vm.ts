/** VmService: VMs as people see them; their serial log and console are relayed from their host. */
import { isDeepStrictEqual } from 'node:util';
import {
  VmState,
  type DiskFilling as WireFilling,
  type CloneVmRequest,
  type FoundVm,
  type Vm,
  type VmServiceService,
  type VmSpec,
} from '@berth/proto/v1/vm.ts';
import { VmDiskOptions, VmHardware, VmNicOptions } from '@berth/proto/v1/hardware.ts';
import { diskOptionsToWire, hardwareToWire, nicOptionsToWire, withoutSecrets } from '@berth/shared/hardware/wire.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { definitionFromWire } from '@berth/shared/hardware/definition-wire.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Vm as Stored, VmState as State } from '@berth/shared/model/vm.ts';
import type { Adoption, FoundVm as Found } from '../app/adoption.ts';
import type { CloneVm } from '../app/vm-request.ts';
import type { DiskFilling } from '../app/vm-fillings.ts';
import type { VmUpdates } from '../app/vm-updates.ts';
import type { VmView } from '../app/vm-view.ts';
import type { VmAnswer } from '../app/vm-deps.ts';
import type { VmMaking } from '../app/vm-making.ts';
import type { Vms } from '../app/vms.ts';
import type { LogPiece } from '../hosts/agent-client.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { toGuest } from './guest.ts';
import { relayConsole } from './console.ts';
import { fromWire, toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Handlers } from './call.ts';
import { insistDevices } from './devices.ts';
import { insistLabels, type Asker, type Scope } from './scope.ts';

export const vmHandlers = (
  vms: Vms,
  making: VmMaking,
  hosts: Hosts,
  scope: Scope,
  adoption: Adoption,
  updates: VmUpdates,
): Handlers<VmServiceService> => ({
  createVm: async (r, call) => {
    const { spec, ...wanted } = r;
    scope.insistImages(call, imagesIn(spec));
    return toAnswer(await making.create({ ...wanted, ...sizesOf(r), ...definitionOf(r.name, spec, call) }, call.user));
  },
  cloneVm: async (r, call) => {
    scope.insistImages(call, [r.image, ...imagesIn(r.spec)]);
    return toAnswer(await making.clone(toClone(r, call), call.user));
  },
  getVm: async (r) => toVm(await vms.get(r.vm)),
  listVms: async (r, call) => {
    const fits = parseSelector(r.selector ?? '');
    const keep = (vm: Stored) => fits(vm.spec.labels) && scope.seesVm(call, vm);
    const { items, nextPageToken } = await vms.list({ ...toQuery(r.page), host: r.host }, keep);
    // what nobody has taken in has no labels yet: only who sees everything sees it, and no selector finds it
    const asked = (r.page?.pageToken ?? '') === '' && (r.selector ?? '') === '' && call.access.everywhere('viewer');
    const found = asked
      ? adoption.found().filter((f) => r.host === '' || [f.host.name, f.host.id].includes(r.host))
      : [];
    return { vms: items.map(toVm), nextPageToken, found: found.map(toFound) };
  },
  startVm: async (r, call) => toAnswer(await vms.start(r.vm, call.user, r)),
  stopVm: async (r, call) => {
    const timeoutMs = fromWire('timeout_ms', r.timeoutMs);
    const { force, thenForce, mode, then } = r;
    return toAnswer(await vms.stop(r.vm, { force, thenForce, timeoutMs, mode, then }, call.user));
  },
  rebootVm: async (r, call) => {
    const timeoutMs = fromWire('timeout_ms', r.timeoutMs);
    return toAnswer(await vms.reboot(r.vm, { mode: r.mode, timeoutMs, then: r.then }, call.user));
  },
  resetVm: async (r, call) => toAnswer(await vms.reset(r.vm, call.user)),
  suspendVm: async (r, call) => toAnswer(await vms.suspend(r.vm, call.user)),
  resumeVm: async (r, call) => toAnswer(await vms.resume(r.vm, call.user)),
  saveVm: async (r, call) => toAnswer(await vms.save(r.vm, call.user)),
  injectNmi: async (r) => toVm(await vms.injectNmi(r.vm)),
  sendKeys: async (r) => toVm(await vms.sendKeys(r.vm, r.keys)),
  updateVm: async (r, call) => {
    const { spec, generation } = r;
    if (spec === undefined) throw invalidArgument('what shall it be? Give its whole definition (spec)');
    scope.insistImages(call, imagesIn(spec));
    const wanted = {
      definition: definitionFromWire(`vm ${r.vm}`, spec),
      labels: spec.labels,
      generation: fromWire('generation', generation),
      ...{ dryRun: r.dryRun, forceEject: r.forceEject === true, sshKeys: r.sshKeys, userData: r.userData },
    };
    const { view, jobId, changes, notes } = await updates.update(r.vm, wanted, call.user, (after, before) => {
      if (!isDeepStrictEqual(after.labels, before.labels)) insistLabels(call, 'operator', after.labels);
      insistDevices(call, after.hardware?.hostDevices, before.hardware?.hostDevices);
    });
    return { vm: toVm(view), jobId: jobId ?? '', changes: [...changes], notes: [...notes] };
  },
  listGuestSystems: async () => ({ guests: [...updates.guests()] }),
  customizeVm: async ({ vm, ...wanted }, call) => toAnswer(await vms.customize(vm, wanted, call.user)),
  deleteVm: async (r, call) => toAnswer(await vms.delete(r.vm, { force: r.force }, call.user)),
  labelVm: async (r, call) => toVm(await vms.label(r.vm, r, (labels) => insistLabels(call, 'operator', labels))),
  adoptVm: async (r, call) => toVm(await vms.get((await adoption.adoptVm(r, call.user)).id)),
  readVmLog: async function* (r, call) {
    const { vm, hostId } = vms.locate(r.vm, 'log');
    const { follow, from } = r;
    if (from !== undefined) vms.locate(r.vm, 'resume');
    const wanted = { vmId: vm.id, tailBytes: fromWire('tail_bytes', r.tailBytes), follow, from };
    for await (const piece of hosts.agent(hostId).readSerialLog(wanted, call.signal)) yield toPiece(piece);
  },
  readVmScreenshot: async function* (r, call) {
    const { vm, hostId } = vms.locate(r.vm, 'screenshot');
    const picture = hosts.agent(hostId).takeScreenshot({ uuid: vm.uuid, vmId: vm.id }, call.signal);
    for await (const data of picture) yield { data: Buffer.from(data) };
  },
  openVmConsole: (messages, call) => relayConsole(vms, hosts, messages, call.signal),
});

export const imagesIn = (spec: VmSpec | undefined): string[] =>
  [...(spec?.disks ?? []), ...(spec?.cdroms ?? [])].map((d) => d.image).filter((name) => name !== '');

const sizesOf = (r: { memoryBytes: bigint; diskSizeBytes: bigint }) => ({
  memoryBytes: fromWire('memory_bytes', r.memoryBytes),
  diskSizeBytes: fromWire('disk_size_bytes', r.diskSizeBytes),
});

export const toClone = ({ spec, ...r }: CloneVmRequest, call: Asker): CloneVm => ({
  ...{ ...r, ...sizesOf(r) },
  ...definitionOf(r.name, spec, call),
});

function definitionOf(name: string, spec: VmSpec | undefined, call: Asker): Pick<CloneVm, 'definition'> {
  if (spec === undefined) return {};
  const definition = definitionFromWire(`vm ${name}`, spec);
  insistDevices(call, definition.hostDevices, []);
  return { definition };
}

const toPiece = ({ data, position, gap }: LogPiece) => ({ data: Buffer.from(data), position, gap });

const toAnswer = (a: VmAnswer) => ({ vm: toVm(a.view), jobId: a.jobId ?? '' });

const STATE: Readonly<Record<State, VmState>> = {
  creating: VmState.CREATING,
  stopped: VmState.STOPPED,
  starting: VmState.STARTING,
  running: VmState.RUNNING,
  paused: VmState.PAUSED,
  stopping: VmState.STOPPING,
  crashed: VmState.CRASHED,
  deleting: VmState.DELETING,
  unknown: VmState.UNKNOWN,
  missing: VmState.MISSING,
  saved: VmState.SAVED,
};

const toFound = ({ host, domain: d, detail }: Found): FoundVm => ({
  id: d.vmId,
  name: d.name,
  host: host.name,
  state: STATE[d.power === 'suspended' ? 'paused' : d.power],
  vcpus: d.vcpus,
  memoryBytes: toWire(d.memoryBytes),
  detail,
});

function toVm(v: VmView): Vm {
  const { vm } = v;
  return {
    id: vm.id,
    name: vm.name,
    uuid: vm.uuid,
    state: STATE[v.state],
    stateReason: v.reason,
    host: v.hostName,
    spec: toSpec(v),
    generation: toWire(vm.generation),
    createdAtMs: toWire(vm.createdAtMs),
    jobId: v.jobId ?? '',
    cpuUsed: v.statistics?.cpuUsed ?? 0,
    memoryUsedBytes: toWire(v.statistics?.memoryUsedBytes),
    lastSeenAtMs: toWire(v.lastSeenAtMs),
    guest: v.guest && toGuest(v.guest),
    pending: v.pending.map((c) => ({ ...c, atNextStart: true })),
    snapshotCount: vm.snapshots?.length ?? 0,
  };
}

const toFilling = ({ localBytes, totalBytes, from, waiting, jobId }: DiskFilling): WireFilling => ({
  ...{ localBytes: toWire(localBytes), totalBytes: toWire(totalBytes), from, waiting },
  jobId: jobId ?? '',
});

function toSpec({
  vm: { spec },
  imageNames,
  mediumNames,
  poolNames,
  networkNames,
  copyNames,
  fillings,
}: VmView): Vm['spec'] {
  return {
    vcpus: spec.vcpus,
    memoryBytes: toWire(spec.memoryBytes),
    disks: spec.disks.map((d, i) => ({
      target: d.target,
      sizeBytes: toWire(d.sizeBytes),
      image: imageNames[i] ?? '',
      volumeId: d.volumeId,
      ...(poolNames[i] && { pool: poolNames[i] }),
      ...(copyNames[i] && { copyOf: copyNames[i] }),
      ...(fillings[i] && { filling: toFilling(fillings[i]) }),
      ...(d.options && { options: VmDiskOptions.fromPartial(diskOptionsToWire(d.options)) }),
    })),
    cdroms: (spec.cdroms ?? []).map(({ target, bus }, i) => ({ target, bus, image: mediumNames[i] ?? '' })),
    nics: spec.nics.map((n, i) => ({
      mac: n.mac,
      bridge: n.bridge,
      model: n.model,
      address: n.address ?? '',
      gateway: n.gateway ?? '',
      dns: [...n.dns],
      ...(networkNames[i] && { network: networkNames[i] }),
      ...(n.options && { options: VmNicOptions.fromPartial(nicOptionsToWire(n.options)) }),
    })),
    labels: { ...spec.labels },
    ...(spec.osVariant !== undefined && { osVariant: spec.osVariant }),
    ...(spec.identity !== undefined && { identity: spec.identity }),
    runPolicy: spec.runPolicy,
    ...(spec.hardware && { hardware: VmHardware.fromPartial(withoutSecrets(hardwareToWire(spec.hardware))) }),
  };
}
