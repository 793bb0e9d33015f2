/** From what a person asked for to a VM row: limits, defaults, ids, MAC. Reads tables; writes nothing. */
import { isIP } from 'node:net';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import { checkLabels } from '@berth/shared/labels/labels.ts';
import { RUN_POLICIES, type RunPolicy, type Vm, type VmNic } from '@berth/shared/model/vm.ts';
import { newUuid, type Random } from '@berth/shared/runtime/random.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Tables } from '../state/state.ts';
import { freeMac, givenMac } from './macs.ts';
import { checkName } from './names.ts';

/** Zero and empty mean the default, as in the public API. */
export interface CreateVm {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly diskSizeBytes: number;
  readonly host: string;
  readonly bridge: string;
  readonly mac: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly dryRun: boolean;
  readonly runPolicy?: string | undefined;
}

export interface CloneVm extends CreateVm {
  readonly image: string;
  readonly address: string;
  readonly gateway: string;
  readonly dns: readonly string[];
  readonly sshKeys: readonly string[];
  readonly userData: string;
  /** When it is made; room to run is kept for it. */
  readonly start?: boolean | undefined;
}

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;
const DEFAULTS = { vcpus: 1, memoryBytes: 512 * MIB, diskSizeBytes: 10 * 1024 * MIB, bridge: 'br0' } as const;

export interface Maker {
  readonly tables: Tables;
  readonly random: Random;
  readonly nowMs: number;
}

/** @param image below its disk, or undefined for a blank disk. */
export function newVm(from: Maker, r: CreateVm & Partial<CloneVm>, image: Image | undefined): Vm {
  const vcpus = within('vCPUs', r.vcpus || DEFAULTS.vcpus, 1, 1024, String);
  const memoryBytes = within('memory', r.memoryBytes || DEFAULTS.memoryBytes, 16 * MIB, 64 * TIB, formatBytes);
  return {
    id: newId('vm', from.nowMs),
    name: checkName('vm', r.name),
    uuid: newUuid(),
    phase: 'creating',
    hostId: undefined,
    desiredPower: 'off',
    spec: {
      vcpus,
      memoryBytes,
      disks: [
        { target: 'vda', volumeId: newId('volume', from.nowMs), sizeBytes: diskSize(r, image), imageId: image?.id },
      ],
      nics: [nic(from, r)],
      seedVolumeId: image && newId('volume', from.nowMs),
      sshKeys: (r.sshKeys ?? []).map(checkKey),
      userData: checkUserData(r.userData ?? ''),
      labels: checkLabels('a vm', r.labels),
      runPolicy: checkRunPolicy(r.runPolicy),
    },
    generation: 1,
    createdAtMs: from.nowMs,
  };
}

function within(what: string, n: number, least: number, most: number, show: (n: number) => string): number {
  if (Number.isSafeInteger(n) && n >= least && n <= most) return n;
  throw invalidArgument(`${what} must be between ${show(least)} and ${show(most)}, not ${show(n)}`);
}

function diskSize(r: CreateVm, image: Image | undefined): number {
  const least = image?.virtualSizeBytes ?? MIB;
  const wanted = r.diskSizeBytes || image?.virtualSizeBytes || DEFAULTS.diskSizeBytes;
  if (image && wanted < least)
    throw invalidArgument(
      `a disk of ${formatBytes(wanted)} is too small for image ${image.name}: it needs ${formatBytes(least)} or more`,
    );
  return within('the disk size', Math.ceil(wanted / 512) * 512, Math.min(least, MIB), 64 * TIB, formatBytes);
}

function nic(from: Maker, r: CreateVm & Partial<CloneVm>): VmNic {
  const bridge = r.bridge || DEFAULTS.bridge;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(bridge))
    throw invalidArgument(`${JSON.stringify(bridge.slice(0, 40))} is not the name of a bridge`);
  return {
    mac: r.mac ? givenMac(from.tables, r.mac) : freeMac(from.tables, from.random),
    bridge,
    model: 'virtio',
    address: checkAddress(r.address ?? ''),
    gateway: r.gateway ? checkIp('the gateway', r.gateway) : undefined,
    dns: (r.dns ?? []).map((d) => checkIp('a DNS server', d)),
  };
}

function checkRunPolicy(policy: string | undefined): RunPolicy {
  const known = RUN_POLICIES.find((p) => p === (policy || 'manual'));
  if (known) return known;
  throw invalidArgument(`${JSON.stringify(policy?.slice(0, 40))} is no run policy: ${RUN_POLICIES.join(', ')}`);
}

function checkAddress(address: string): string | undefined {
  if (address === '') return undefined;
  const [ip = '', prefix = '', more] = address.split('/');
  const bits = isIP(ip) === 6 ? 128 : 32;
  if (isIP(ip) === 0 || more !== undefined || !/^\d{1,3}$/.test(prefix) || Number(prefix) > bits)
    throw invalidArgument(
      `${JSON.stringify(address.slice(0, 60))} is not an address with a prefix: write it like 10.0.0.11/24`,
    );
  return address;
}

function checkIp(what: string, ip: string): string {
  if (isIP(ip) === 0) throw invalidArgument(`${what} must be an IP address, not ${JSON.stringify(ip.slice(0, 60))}`);
  return ip;
}

function checkKey(key: string): string {
  const line = key.trim();
  if (/^(ssh|ecdsa|sk-)[\w@.-]* \S+/.test(line) && !/[\r\n]/.test(line) && line.length <= 16_384) return line;
  throw invalidArgument(`${JSON.stringify(line.slice(0, 40))} is not an SSH public key (ssh-ed25519 AAAA…)`);
}

function checkUserData(text: string): string {
  if (Buffer.byteLength(text) <= 65_536) return text;
  throw invalidArgument(`user-data is ${Buffer.byteLength(text)} bytes long; 65536 are allowed`);
}
