/**
 * One image to eight hosts over links of limited speed, beside what a person does: one copy after the other from the host that
 * has it. And the same, reckoned, for a thousand hosts (test/sim/fan-out.ts).
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { PIECE_BYTES } from '@berth/agent/drivers/linux/fetch/chunks.ts';
import { CHUNK_BYTES } from '@berth/shared/disk/digest.ts';
import { FanOut } from '../sim/fan-out.ts';
import { patiently, withLabCluster, type LabCluster } from './lab-cluster.ts';
import { mib, ms, remark, table, timed, type Row, type Say } from './report.ts';

const HOSTS = 8;
const IMAGE_BYTES = 256 * 2 ** 20;
const LINK_BYTES_PER_SECOND = 8 * 2 ** 20;

export async function fanoutTopic(say: Say): Promise<void> {
  const names = Array.from({ length: HOSTS + 1 }, (_, i) => `h${i}`);
  await withLabCluster(names, (l) => real(l, say));
  await simulated(say);
}

async function real({ cluster, hosts }: LabCluster, say: Say): Promise<void> {
  const [source, ...others] = hosts as [LabHost, ...LabHost[]];
  await importRandom(cluster);
  for (const host of hosts) await host.limitSending(LINK_BYTES_PER_SECOND);
  const best = (IMAGE_BYTES / LINK_BYTES_PER_SECOND) * 1_000;
  const raw = await sending(source, () => byHand(source, others[0]!));
  const berth = await sending(source, () => patiently(cluster, 'image', 'push', 'big', '--all'));
  const row = (what: string, tookMs: number, sent: number): Row => [
    ...[what, ms(tookMs), (tookMs / best).toFixed(2), mib(sent), (sent / IMAGE_BYTES).toFixed(2)],
  ];
  table(
    say,
    `An image of ${mib(IMAGE_BYTES)} to ${HOSTS} hosts, each sending at most ${mib(LINK_BYTES_PER_SECOND)}/s (S/B ${ms(best)})`,
    ['', 'time', 'over S/B', 'sent by its source', 'over S'],
    [
      row('qemu-nbd and qemu-img convert, to one host', raw.ms, raw.bytes),
      row(`the same to ${HOSTS}, one after the other (reckoned)`, raw.ms * HOSTS, raw.bytes * HOSTS),
      row(`berth image push --all`, berth.ms, berth.bytes),
    ],
  );
  remark(
    say,
    'aims: at most 1.2 times S/B, and 1.1 times S; all hosts share this machine, and Berth encrypts and checks',
  );
}

async function importRandom(cluster: LabCluster['cluster']): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'berth-bench-'));
  try {
    await writeFile(join(dir, 'big.raw'), randomBytes(IMAGE_BYTES));
    await cluster.ok('image', 'import', join(dir, 'big.raw'), '--format', 'raw', '--name', 'big', '--host', 'h0');
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function sending(
  source: LabHost,
  work: () => Promise<unknown>,
): Promise<{ readonly ms: number; readonly bytes: number }> {
  const before = await source.sentBytes();
  const { ms: tookMs } = await timed(work);
  return { ms: tookMs, bytes: (await source.sentBytes()) - before };
}

/** In the clear and unchecked. */
async function byHand(source: LabHost, target: LabHost): Promise<void> {
  const image = await source.run(['sh', '-c', 'ls -S /var/lib/berth/images/*.qcow2 | head -n 1']);
  const socket = ['-p', '10999', '-x', 'big'];
  await source.run(['qemu-nbd', '--fork', '-r', '-f', 'qcow2', ...socket, image.trim()]);
  const uri = `nbd://${source.address}:10999/big`;
  await target.run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, '/var/lib/berth/by-hand.qcow2']);
  await target.run(['rm', '/var/lib/berth/by-hand.qcow2']);
}

async function simulated(say: Say): Promise<void> {
  const imageBytes = 10e9;
  const bytesPerSecond = 125e6;
  const usual = {
    ...{ imageBytes, bytesPerSecond, pieceBytes: CHUNK_BYTES, partBytes: PIECE_BYTES, passMs: 5 },
    ...{ hopMs: 20, lookMs: 2_000, silentMs: 10_000 },
  };
  const best = (imageBytes / bytesPerSecond) * 1_000;
  const rows: Row[] = [];
  for (const [hosts, holders] of [
    [32, 1],
    [100, 1],
    [1_000, 1],
    [1_000, 4],
  ] as const) {
    const { doneMs, sourceSentBytes } = await new FanOut({ ...usual, hosts, holders }).run();
    const at = (share: number): string => (doneMs[Math.ceil(share * doneMs.length) - 1]! / best).toFixed(2);
    rows.push([hosts, holders, at(0.5), at(0.99), at(1), (sourceSentBytes / imageBytes).toFixed(2)]);
  }
  table(
    say,
    '10 GB over links of 1 Gbit/s, simulated: times over S/B',
    ['hosts', 'have it', 'p50', 'p99', 'last', 'sent by a source, over S'],
    rows,
  );
  remark(
    say,
    'aim: p99 at most 1.3 for 1,000 hosts; each host of a chain adds a part of 512 KiB and 5 ms, and 20 ms to begin with',
  );
}
