/** What the quickstart does on its hosts: an image, two VMs, and what the guests themselves say. */
import { execPath } from 'node:process';
import { join } from 'node:path';
import type { Api } from '@berth/controller/cli/core/api.ts';
import { shortDigest } from '@berth/controller/cli/core/words.ts';
import { hostColumns, hostView } from '@berth/controller/cli/host/view.ts';
import { tableLines } from '@berth/controller/cli/output/table.ts';
import { vmColumns, vmView } from '@berth/controller/cli/vm/view.ts';
import { ImageState, type Image } from '@berth/proto/v1/image.ts';
import { JobState } from '@berth/proto/v1/job.ts';
import { VmState, type Vm } from '@berth/proto/v1/vm.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { runCommand, settles } from './processes.ts';
import { root, type Place } from './state.ts';
import { writeSimulatedImage } from './simulated-image.ts';

const BERTH = join(root, 'controller', 'dist', 'cli', 'berth.js');
const FIRST_ADDRESS = 11;
/** A guest under emulation takes a few seconds; a busy machine may take much longer. */
const BOOT_MS = 120_000;
/** How long an import that lost its sender may take to be undone. */
const UNWIND_MS = 60_000;
const PAGE = { pageSize: 1000, pageToken: '' };

/** Does some work under a title, and says with which result. */
export type Phase = <T>(
  title: string,
  work: () => Promise<{ readonly detail: string; readonly value: T }>,
) => Promise<T>;

export async function ensureImage(place: Place, api: Api, guestImage: string | undefined): Promise<Image> {
  let known: Image | undefined;
  // A quickstart that was killed here leaves an import whose sender is gone: it ends by itself, and takes its image along.
  await settles(async () => {
    known = (await api.call(api.images, (c) => c.listImages, { page: PAGE })).images.find((i) => i.name === 'base');
    return known === undefined || known.state === ImageState.AVAILABLE;
  }, UNWIND_MS);
  if (known?.state !== ImageState.AVAILABLE)
    await runCommand([execPath, BERTH, 'image', 'import', guestImage ?? writeSimulatedImage(place), '--name', 'base']);
  return api.call(api.images, (c) => c.getImage, { image: 'base' });
}

export const imageLine = ({ digest, copies }: Image): string =>
  `${shortDigest(digest)}, on ${copies.length === 1 ? copies[0]?.host : `${copies.length} hosts`}`;

/**
 * Both at once: they are placed one after the other, so they land on different hosts where there are two.
 * Answers how often each guest had said its name before it was started. @param holders hosts that have the image already
 */
export async function ensureVms(
  api: Api,
  names: readonly string[],
  holders: readonly string[],
  phase: Phase,
): Promise<number[]> {
  return Promise.all(
    names.map((name, i) =>
      phase(`vm ${name}`, async () => {
        const known = await findVm(api, name);
        const address = `10.77.0.${FIRST_ADDRESS + i}/24`;
        if (!known)
          await job(api, (await api.call(api.vms, (c) => c.cloneVm, { ...CLONE, image: 'base', name, address })).jobId);
        const vm = await api.call(api.vms, (c) => c.getVm, { vm: name });
        if (vm.state === VmState.RUNNING) return { detail: `runs on ${vm.host}`, value: 0 };
        const before = known ? (await sayings(api, name)).length : 0;
        await job(api, (await api.call(api.vms, (c) => c.startVm, { vm: name })).jobId);
        const travelled = holders.includes(vm.host) ? '' : await copied(api, vm.host);
        return {
          detail: known ? `started on ${vm.host}` : `created on ${vm.host}${travelled}, started`,
          value: before,
        };
      }),
    ),
  );
}

const CLONE = {
  diskSizeBytes: 0n,
  vcpus: 1,
  memoryBytes: 256n * 2n ** 20n,
  host: '',
  bridge: '',
  mac: '',
  gateway: '',
  dns: [],
  sshKeys: [],
  userData: '',
  labels: {},
  dryRun: false,
};

const findVm = async (api: Api, name: string): Promise<Vm | undefined> =>
  (await api.call(api.vms, (c) => c.listVms, { page: PAGE, host: '' })).vms.find((v) => v.name === name);

/** Said when the image had to travel. */
async function copied(api: Api, host: string): Promise<string> {
  const { copies } = await api.call(api.images, (c) => c.getImage, { image: 'base' });
  const copy = copies.find((c) => c.host === host);
  return copy ? ` (base copied, ${formatFileBytes(Number(copy.fileBytes))})` : '';
}

/** Waits for a job's end; throws its error. */
async function job(api: Api, id: string): Promise<void> {
  if (id === '') return;
  for await (const j of api.stream(api.jobs, (c) => c.watchJob, { job: id }, new AbortController().signal)) {
    if (j.state === JobState.SUCCEEDED) return;
    if ([JobState.FAILED, JobState.CANCELLED, JobState.STUCK].includes(j.state))
      throw new Error(`${j.kind} ${j.subject}: ${j.error}`);
  }
}

/** What each guest says of itself on its serial console, once it has said so more often than `before`. */
export async function guestLines(
  api: Api,
  names: readonly string[],
  before: readonly number[],
): Promise<readonly string[]> {
  return Promise.all(
    names.map(async (name, i) => {
      let said: string[] = [];
      const booted = await settles(async () => {
        // a host under load may lose its connection for a moment, and is asked again
        said = await sayings(api, name).catch(() => said);
        return said.length > (before[i] ?? 0);
      }, BOOT_MS);
      const line = said.at(-1);
      if (!booted || line === undefined)
        throw new Error(`the guest ${name} says nothing on its serial console. Look with: npx berth vm log ${name}`);
      if (!line.startsWith(`${name} `)) throw new Error(`the guest of ${name} thinks that it is ${line.split(' ')[0]}`);
      return `${name} says: "${line}"`;
    }),
  );
}

/** One line for each time it booted. */
const sayings = async (api: Api, name: string): Promise<string[]> =>
  [...(await serialLog(api, name)).matchAll(/^berth-guest: (.*?)\r?$/gm)].map((m) => m[1] ?? '');

async function serialLog(api: Api, vm: string): Promise<string> {
  const parts: Uint8Array[] = [];
  const request = { vm, tailBytes: 65_536n, follow: false };
  for await (const { data } of api.stream(api.vms, (c) => c.readVmLog, request, new AbortController().signal))
    parts.push(data);
  return Buffer.concat(parts).toString();
}

/** The inventory as `berth host list` and `berth vm list` show it. */
export async function inventory(api: Api): Promise<string[]> {
  const { hosts } = await api.call(api.hosts, (c) => c.listHosts, { page: PAGE });
  const { vms } = await api.call(api.vms, (c) => c.listVms, { page: PAGE, host: '' });
  const now = systemClock.now();
  return [
    ...tableLines(hostColumns(now), hosts.map(hostView), false),
    '',
    ...tableLines(vmColumns(now), vms.map(vmView), false),
  ];
}
