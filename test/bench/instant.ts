/**
 * Clones to hosts that lack the image, beside copying the image first over the same link; many linked clones beside a shell loop; and
 * how many bytes many clones on several hosts cost. Everything is real; images are the lab's guest with noise behind it.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { ensureManagedImage } from '@berth/deploy/lab/managed-image.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { JobState } from '@berth/proto/v1/job.ts';
import { CloneVmRequest, VmState } from '@berth/proto/v1/vm.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { basePath, clonesByHand, prepareByHand, removeByHand } from './by-hand.ts';
import { instantSizes } from './config.ts';
import { jobDone, patiently, withLabCluster, type LabCluster } from './lab-cluster.ts';
import { mib, ms, remark, SPREAD, spread, table, timed, type Row, type Say } from './report.ts';

const MIB = 2 ** 20;
/** Each gets one clone of each size. So many, because what differs by a tenth shows in the median of no fewer. */
const TARGETS = ['h2', 'h3', 'h4', 'h5', 'h6', 'h7', 'h8'];
const MANY_TARGETS = TARGETS.slice(0, 3);
const LINKED = 64;
/** Thin, but room for all of it is asked for: so many must find it on one host. */
const DISK = '512MiB';
const MANY = 30;
/** So much of an image is data; what is larger has it in blocks that lie far from each other, as guests' disks have. */
const MOST_DATA_MIB = 1_024;

export async function instantTopic(say: Say): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'berth-bench-'));
  try {
    const image = await ensureManagedImage();
    const measure = async (l: LabCluster): Promise<void> => {
      const rows: Row[] = [];
      for (const size of instantSizes()) rows.push(...(await oneSize(l, dir, size, say)));
      table(say, 'One VM on a host without the image, to running', ['', ...SPREAD], rows);
      remark(
        say,
        `aim: the same within 20 % whatever the size, under 1.5 s; by hand: qemu-img convert over NBD, or scp, then define, start; ` +
          `larger images than ${MOST_DATA_MIB} MiB have that much data, spread over all of them`,
      );
      await manyInstant(l, dir, say);
      await manyLinked(l, say);
    };
    await withLabCluster(['h1', ...TARGETS], measure, { image });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function makeImage(dir: string, sizeMib: number): Promise<string> {
  const [raw, path] = [join(dir, 'bench.raw'), join(dir, `bench-${sizeMib}.qcow2`)];
  await execa('qemu-img', ['convert', '-O', 'raw', guestImagePath(), raw]);
  const file = await open(raw, 'r+');
  const { size } = await file.stat();
  const data = Math.min(sizeMib, MOST_DATA_MIB);
  for (let i = 0; i < data; i++)
    await file.write(randomBytes(MIB), 0, MIB, size + Math.floor((i * sizeMib) / data) * MIB);
  await file.truncate(size + sizeMib * MIB);
  await file.close();
  await execa('qemu-img', ['convert', '-O', 'qcow2', raw, path]);
  await rm(raw);
  return path;
}

/** Says each measurement as it comes: all of them take minutes. */
async function oneSize(l: LabCluster, dir: string, sizeMib: number, say: Say): Promise<readonly Row[]> {
  const name = `bench-${sizeMib}`;
  const path = await makeImage(dir, sizeMib);
  await patiently(l.cluster, 'image', 'import', path, '--name', name, '--host', 'h1');
  await rm(path);
  const instant: number[] = [];
  for (const host of TARGETS) {
    await written(l);
    const made = await timed(() => runningClone(l, name, `vm-${sizeMib}-${host}`, host));
    instant.push(made.ms);
    const copied = await timed(() => quiet(l));
    say(`  ${sizeMib} MiB to ${host}: runs after ${ms(made.ms)}, its image had come ${ms(copied.ms)} later`);
    // an emulated guest that boots takes the CPU from who is measured next
    await l.cluster.ok('vm', 'stop', '--force', `vm-${sizeMib}-${host}`);
  }
  const converted = await copyFirst(l, name, CONVERT);
  const copied = await copyFirst(l, name, await scpOf(l));
  for (const host of TARGETS) await l.cluster.ok('vm', 'delete', '--force', `vm-${sizeMib}-${host}`);
  await l.cluster.ok('image', 'delete', name);
  return [
    [`instant, ${sizeMib} MiB`, ...spread(instant)],
    [`qemu-img convert first, ${sizeMib} MiB`, ...spread([converted])],
    [`scp first, ${sizeMib} MiB`, ...spread([copied])],
  ];
}

async function runningClone({ api }: LabCluster, image: string, name: string, host: string): Promise<void> {
  const wanted = CloneVmRequest.fromPartial({
    image,
    name,
    host,
    memoryBytes: 96n << 20n,
    kind: 'instant',
    start: true,
  });
  await jobDone(api, (await api.call(api.vms, (c) => c.cloneVm, wanted)).jobId);
  while ((await api.call(api.vms, (c) => c.getVm, { vm: name })).state !== VmState.RUNNING) await systemClock.sleep(10);
}

/** Nothing is copied any more. */
async function quiet({ api }: LabCluster): Promise<void> {
  for (;;) {
    const { jobs } = await api.call(api.jobs, (c) => c.listJobs, { openOnly: true, page: undefined });
    if (jobs.every((j) => j.kind !== 'image.fetch' || j.state === JobState.SUCCEEDED)) return;
    await systemClock.sleep(100);
  }
}

/** What was copied before is on disk: whoever makes files safe would wait for that too, and longer the larger it was. */
const written = ({ hosts }: LabCluster): Promise<string> => hosts[0]!.run(['sync']);

interface Source {
  readonly address: string;
  /** Of the image. */
  readonly path: string;
}
/** A line of shell that brings an image to a file on the host that runs it. */
type Copying = (from: Source, to: string) => string;

const CONVERT: Copying = ({ address }, to) => `qemu-img convert -W -O qcow2 nbd://${address}:10999 ${to}`;

/** The same link, encrypted as Berth's is. */
async function scpOf({ hosts }: LabCluster): Promise<Copying> {
  const [source, target] = [hosts[0]!, hosts[1]!];
  await target.run([
    'sh',
    '-c',
    'test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/id_ed25519',
  ]);
  await source.run(['mkdir', '-p', '/root/.ssh', '/run/sshd']);
  await source.writeFile('/root/.ssh/authorized_keys', await target.readFile('/root/.ssh/id_ed25519.pub'));
  await source.run([
    'sh',
    '-c',
    'chmod 700 /root/.ssh; chmod 600 /root/.ssh/*; ssh-keygen -A; pidof sshd || /usr/sbin/sshd',
  ]);
  const options = '-q -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null';
  return ({ address, path }, to) => `scp ${options} root@${address}:${path} ${to}`;
}

/** As a person would, on a host that Berth has defined a VM on already: only the copy and the start are timed. */
async function copyFirst(l: LabCluster, image: string, copying: Copying): Promise<number> {
  const { hosts } = l;
  await written(l);
  const [source, target] = [hosts[0]!, hosts[1]!];
  const path = (await source.run(['sh', '-c', 'ls -t /var/lib/berth/images/*.qcow2 | head -1'])).trim();
  await source.run(['qemu-nbd', '--fork', '-r', '-t', '-p', '10999', '-f', 'qcow2', path]);
  const xml = await target.virsh(['dumpxml', '--inactive', `vm-${image.slice('bench-'.length)}-h2`]);
  await prepareByHand(
    target,
    xml.replace(
      /<backingStore[\s\S]*?<\/backingStore>\s*<\/backingStore>|<backingStore type[\s\S]*?<\/backingStore>/g,
      '',
    ),
  );
  const disk = '/var/lib/berth/volumes/hand.qcow2';
  const script =
    `set -e; t0=$(date +%s%N); ${copying({ address: source.address, path }, disk)}; ` +
    `sed -e "s/@N@/hand/g; s/@U@/$(cat /proc/sys/kernel/random/uuid)/; s/@M@/00:99/" /tmp/by-hand.xml >/tmp/hand.xml; ` +
    'virsh -q define /tmp/hand.xml; virsh -q start hand >/dev/null; t1=$(date +%s%N); virsh -q destroy hand; virsh -q undefine hand; ' +
    `rm -f ${disk}; echo $(( (t1 - t0) / 1000000 ))`;
  const took = Number((await target.run(['sh', '-c', script])).trim().split('\n').at(-1));
  await source.run(['sh', '-c', 'kill $(pidof qemu-nbd) || true']);
  return took;
}

const received = async (host: LabHost): Promise<number> =>
  Number(await host.run(['cat', '/sys/class/net/eth0/statistics/rx_bytes']));

async function manyInstant(l: LabCluster, dir: string, say: Say): Promise<void> {
  await l.cluster.ok('image', 'import', await makeImage(dir, 100), '--name', 'many', '--host', 'h1');
  const targets = l.hosts.filter((h) => MANY_TARGETS.includes(h.name));
  const { copies } = await l.cluster.json<{ copies: { fileBytes: string }[] }>('image', 'show', 'many');
  const fileBytes = copies[0]?.fileBytes ?? 0;
  const before = await Promise.all(targets.map(received));
  const names = Array.from({ length: MANY }, (_, i) => `many-${i + 1}`);
  const made = await timed(() =>
    Promise.all(
      MANY_TARGETS.map((host, t) =>
        l.cluster.ok(
          'vm',
          'clone',
          'many',
          ...names.filter((_, i) => i % MANY_TARGETS.length === t),
          '--host',
          host,
          '--memory',
          '96MiB',
        ),
      ),
    ),
  );
  await quiet(l);
  const bytes = (await Promise.all(targets.map(received))).reduce((sum, n, i) => sum + n - (before[i] ?? 0), 0);
  const ideal = Number(fileBytes) * targets.length;
  table(
    say,
    `${MANY} clones over ${targets.length} hosts that lack the image`,
    ['', ''],
    [
      ['made', ms(made.ms)],
      ['bytes on the wire', mib(bytes)],
      ['image × hosts', mib(ideal)],
      ['times that', (bytes / ideal).toFixed(3)],
    ],
  );
  remark(say, 'with all that agents and controller say to each other; aim: at most 1.1');
  await l.cluster.ok('vm', 'delete', '--force', ...names);
}

async function manyLinked({ cluster, hosts }: LabCluster, say: Say): Promise<void> {
  const host = hosts[0]!;
  await cluster.ok('vm', 'clone', 'base', 'warm', '--host', 'h1', '--memory', '96MiB', '--linked', '--disk-size', DISK);
  await prepareByHand(host, await host.virsh(['dumpxml', '--inactive', 'warm']));
  const [base] = (await basePath(host)).split('\n');
  const names = (prefix: string) => Array.from({ length: LINKED }, (_, i) => `${prefix}${i + 1}`);
  const loop = await timed(() => clonesByHand(host, names('s'), base ?? '', DISK.slice(0, -2)));
  await removeByHand(host, names('s'));
  const flags = ['--host', 'h1', '--memory', '96MiB', '--disk-size', DISK, '--linked'];
  const berth = await timed(() => cluster.ok('vm', 'clone', 'base', ...names('c'), ...flags));
  table(
    say,
    `${LINKED} linked clones on one host, defined and not started`,
    ['', ''],
    [
      ['shell loop', ms(loop.ms)],
      ['berth vm clone', ms(berth.ms)],
    ],
  );
  remark(say, 'the loop makes no seeds. Aim: under the loop');
}
