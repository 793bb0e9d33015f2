/**
 * Volumes that people upload, with real processes: tickets, breaks of the command and the controller, files that are not what they
 * should be, volumes that are overwritten. The disks themselves are simulated; real ones are in agent/src/volume and in the lab.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { SendRequest } from '@berth/proto/v1/upload.ts';
import { JobState } from '@berth/proto/v1/job.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { Cluster } from '../harness/cluster.ts';
import { qcow2, rawDisk } from '../harness/disk-files.ts';
import { Operator } from '../harness/operator.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

const MIB = 2 ** 20;
interface Volume {
  readonly id: string;
  readonly state: string;
  readonly sizeBytes: number;
  readonly format: string;
  readonly labels: Record<string, string>;
  readonly jobId: string;
}
const sha256 = (b: Buffer): string => createHash('sha256').update(b).digest('hex');

let c: Cluster;
let op: Operator;
const file = (name: string, bytes: Buffer): string => {
  writeFileSync(join(c.dir, name), bytes);
  return join(c.dir, name);
};
const disk = (bytes: number, mark: number): Buffer => {
  const b = rawDisk(bytes);
  b.fill(mark, MIB, MIB + 4096);
  return b;
};
const noisy = (bytes: number): Buffer => {
  const b = randomBytes(bytes);
  rawDisk(bytes).copy(b, 0, 0, 512);
  return b;
};
const volume = (name: string) => c.json<Volume>('volume', 'show', name);
const gone = (name: string) =>
  eventually(`${name} is gone`, async () => (await c.berth('volume', 'show', name)).code === 3);

beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.waitUp('h1');
  op = await Operator.of(c);
}, 120_000);
afterAll(async () => {
  op?.api.close();
  await c?.stop();
});

interface Begun {
  readonly jobId: string;
  readonly ticket: string;
  readonly offset: number;
}
/** As far as the first ticket. */
async function begun(name: string, bytes: Buffer): Promise<Begun> {
  const about = { fileBytes: BigInt(bytes.length), allocatedBytes: 0n, format: '', sizeBytes: 0n };
  const wanted = { name, file: about, format: '', host: '', pool: '', labels: {} };
  const { jobId } = await op.api.call(op.api.uploads, (u) => u.uploadVolume, wanted);
  return { jobId, ...(await opened(jobId)) };
}
async function opened(job: string) {
  const { ticket, offset } = await op.api.call(op.api.uploads, (u) => u.openUpload, { job });
  return { ticket, offset: Number(offset) };
}
/** The answer, or why there is none. */
async function send({ jobId, ticket, offset }: Begun, bytes: Buffer, hash = sha256(bytes)): Promise<string> {
  const { sink, done } = op.api.send(new AbortController().signal);
  done.catch(() => undefined);
  const say = (message: SendRequest['message']) => void sink.write({ message });
  say({ $case: 'begin', value: { uploadId: jobId, ticket, offset: BigInt(offset) } });
  for (let at = offset; at < bytes.length; at += 65_536) say({ $case: 'data', value: bytes.subarray(at, at + 65_536) });
  say({ $case: 'end', value: { sha256: hash } });
  sink.end();
  return done.then(
    (r) => `${r.receivedBytes}`,
    (e: unknown) => (isClusterError(e) ? `${e.reason}: ${e.message}` : String(e)),
  );
}
const ended = (job: string) =>
  eventually('the job has ended', async () => {
    const j = await op.api.call(op.api.jobs, (x) => x.getJob, { job });
    return [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED].includes(j.state) && j;
  });

it('are there as they were sent, from a file and from standard input', async () => {
  const said = await c.ok('volume', 'upload', file('one.img', disk(4 * MIB, 1)), 'one', '--label', 'team=a');
  expect(said).toBe('volume one uploaded to h1: 4 MiB, qcow2');
  expect(await volume('one')).toMatchObject({
    state: 'ready',
    sizeBytes: 4 * MIB,
    format: 'qcow2',
    labels: { team: 'a' },
  });
  const [node, berth] = [process.execPath, PROGRAMS.berth];
  const pipe = `'${node}' '${berth}' volume download one - | '${node}' '${berth}' volume upload - copy --as raw`;
  const r = await execa('sh', ['-c', pipe], { env: { BERTH_CONFIG: c.configFile }, reject: false });
  expect([r.exitCode, r.stdout]).toEqual([0, 'volume copy uploaded to h1: 4 MiB, raw']);
  expect((await c.berth('volume', 'upload', join(c.dir, 'one.img'), 'one')).err).toMatch(
    /volume one exists already. Choose another name, or say --overwrite/,
  );
  // as any other volume from here on
  await c.ok('vm', 'create', 'web', '--host', 'h1', '--disk', '1GiB');
  await c.ok('volume', 'attach', 'web', 'one');
  expect((await c.berth('volume', 'upload', join(c.dir, 'one.img'), 'web-vdb', '--overwrite')).err).toMatch(
    /is disk vdb of vm web: nothing is written over it. Detach it first/,
  );
});

it('have labels that can be changed', async () => {
  expect(await c.ok('volume', 'label', 'copy', 'tier=db', 'team=b')).toBe('volume copy: team=b tier=db');
  expect(await c.ok('volume', 'label', 'copy', 'team-')).toBe('volume copy: tier=db');
  expect((await volume('copy')).labels).toEqual({ tier: 'db' });
  expect((await c.berth('volume', 'label', 'web-vdb', 'a=b')).err).toMatch(/has the labels of vm web/);
});

it('are kept for other programs, and come back', async () => {
  expect(await c.ok('volume', 'convert', 'copy', '--to', 'vdi')).toMatch(/^volume copy is vdi /);
  const refused = await c.berth('volume', 'attach', 'web', 'copy');
  expect([refused.code, refused.err]).toEqual([
    4,
    expect.stringMatching(/no vm runs with. Convert it first: berth volume/),
  ]);
  expect(await c.ok('volume', 'download', 'copy', join(c.dir, 'copy.vdi'))).toMatch(/copy.vdi: .*, vdi$/);
  expect((await c.berth('volume', 'convert', 'web-vda', '--to', 'vdi')).err).toMatch(
    /no vm runs with vdi: detach it first/,
  );
  expect(await c.ok('volume', 'convert', 'copy', '--format', 'raw')).toMatch(/^volume copy is raw /);
});

it('take one stream for each ticket, which nobody uses twice', async () => {
  const bytes = disk(2 * MIB, 2);
  const first = await begun('twice', bytes);
  const second = await opened(first.jobId);
  // the earlier one is worth nothing any more, and says so
  expect(await send(first, bytes)).toMatch(/^PERMISSION_DENIED: the upload ticket is not the one/);
  expect(await send({ ...first, ...second }, bytes)).toBe(String(bytes.length));
  expect(await send({ ...first, ...second }, bytes)).toMatch(/^(NOT_FOUND: no upload|BAD_STATE: this upload ticket)/);
  expect((await ended(first.jobId)).state).toBe(JobState.SUCCEEDED);
  expect((await volume('twice')).sizeBytes).toBe(2 * MIB);
});

it('are not made of what came otherwise than it was sent', async () => {
  const bytes = disk(2 * MIB, 3);
  const wrong = await begun('wrong', bytes);
  expect(await send(wrong, bytes, 'f'.repeat(64))).toMatch(/^DIGEST_MISMATCH: what came is something else/);
  expect((await ended(wrong.jobId)).error).toMatch(/what came is something else/);
  await gone('wrong');
  const none = await begun('none', bytes);
  expect(await send(none, bytes, '')).toMatch(/ends with the SHA-256 of the whole file/);
  await c.ok('job', 'cancel', none.jobId);
  await gone('none');
  const r = await c.berth('volume', 'upload', file('w.img', bytes), 'w', '--sha256', 'e'.repeat(64));
  expect([r.code, r.err]).toEqual([1, expect.stringMatching(/w.img is not what it should be: its sha256 is/)]);
  await gone('w');
});

it('are not made of headers that name other files, whether the command looks or not', async () => {
  const evil = qcow2({ backingFile: '/etc/shadow' });
  const r = await c.berth('volume', 'upload', file('evil.qcow2', evil), 'evil');
  expect(r.err).toMatch(/evil.qcow2 refers to another file \(\/etc\/shadow\)/);
  expect((await c.berth('volume', 'show', 'evil')).code).toBe(3);
  const past = await begun('evil', evil);
  expect(await send(past, evil)).toBe(String(evil.length));
  expect((await ended(past.jobId)).error).toMatch(/refers to another file \(\/etc\/shadow\)/);
  await gone('evil');
  expect((await c.berth('volume', 'upload', file('notes', Buffer.from('hello '.repeat(999))), 'n')).err).toMatch(
    /notes is not a disk image \(it looks like text\)/,
  );
});

it('are not made of URLs: it is said which command takes those', async () => {
  const r = await c.berth('volume', 'upload', 'https://127.0.0.1:1/a.qcow2', 'a');
  expect([r.code, r.err]).toEqual([
    2,
    expect.stringMatching(/a\.qcow2 is a URL, and .* \(berth image import URL --name NAME\)/),
  ]);
});

it('are refused in the beginning where there is no room', async () => {
  const huge = { fileBytes: 15n * 2n ** 40n, allocatedBytes: 0n, format: '', sizeBytes: 0n };
  const wanted = { name: 'huge', file: huge, format: '', host: '', pool: '', labels: {} };
  const e = (await op.api.call(op.api.uploads, (u) => u.uploadVolume, wanted).catch((x: unknown) => x)) as Error;
  expect(e.message).toMatch(/volume huge cannot lie on h1: disk .* free of 15 TiB wanted/);
  expect((await c.berth('volume', 'show', 'huge')).code).toBe(3);
});

it('go on over HTTP too, from the byte that the host has', async () => {
  const bytes = disk(2 * MIB, 4);
  const { jobId, ticket } = await begun('http', bytes);
  const { token } = decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8'));
  const ca = readFileSync(join(c.dataDir, 'trust/ca.pem'), 'utf8');
  const put = (headers: Record<string, string>, body: Buffer) =>
    new Promise<string>((resolve, reject) => {
      const url = `https://${c.httpAddress}/v1/uploads/${jobId}:send`;
      const o = { method: 'PUT', ca, checkServerIdentity: () => undefined };
      const q = request(url, { ...o, headers: { authorization: `Bearer ${token}`, ...headers } }, (r) => {
        let text = '';
        r.on('data', (d: Buffer) => (text += d.toString())).on('end', () => resolve(`${r.statusCode} ${text}`));
      });
      q.on('error', reject).end(body);
    });
  const hash = { 'berth-sha256': sha256(bytes) };
  // shorter than it should be: what came stays
  expect(await put({ 'berth-ticket': ticket, 'berth-offset': '0', ...hash }, bytes.subarray(0, MIB))).toMatch(
    /^4\d\d /,
  );
  const next = await opened(jobId);
  const { offset } = next;
  expect(offset).toBeLessThanOrEqual(MIB);
  const headers = { 'berth-ticket': next.ticket, 'berth-offset': String(offset), ...hash };
  const rest = await put(headers, bytes.subarray(offset));
  expect(rest).toMatch(/^200 .*2097152/s);
  expect((await ended(jobId)).state).toBe(JobState.SUCCEEDED);
});

it('take the place of another when they are whole, and not before', async () => {
  const before = await volume('twice');
  const bad = await c.berth(
    'volume',
    'upload',
    file('t.img', disk(3 * MIB, 5)),
    'twice',
    '--overwrite',
    '--sha256',
    '0'.repeat(64),
  );
  expect(bad.code).toBe(1);
  await eventually('it is left alone', async () => (await volume('twice')).jobId === '');
  expect(await volume('twice')).toEqual(before);
  await c.ok('volume', 'label', 'twice', 'keep=me');
  expect(await c.ok('volume', 'upload', join(c.dir, 't.img'), 'twice', '--overwrite')).toMatch(
    /^volume twice uploaded/,
  );
  expect(await volume('twice')).toMatchObject({ sizeBytes: 3 * MIB, labels: { keep: 'me' }, state: 'ready' });
  // what it was is gone from its host as well
  expect((await c.ok('host', 'review', 'h1').catch(() => '')).includes(before.id)).toBe(false);
  expect((await c.berth('volume', 'upload', join(c.dir, 't.img'), 'twice', '--overwrite', '--host', 'h1')).err).toMatch(
    /keeps its host and pool/,
  );
});

it('go on by themselves when the controller is killed, and with the same command when that was', async () => {
  const path = file('big.img', noisy(96 * MIB));
  const env = { BERTH_CONFIG: c.configFile };
  const start = () =>
    execa(process.execPath, [PROGRAMS.berth, 'volume', 'upload', path, 'big'], { env, reject: false });
  const some = (least: number) =>
    eventually('some of it came', async () => {
      const [job] = (await op.openJobs()).filter((j) => j.kind === 'volume.upload');
      return (job?.steps.find((s) => s.name === 'receive')?.progressDoneBytes ?? 0n) >= BigInt(least) && job;
    });
  const killed = start();
  const job = await some(MIB);
  killed.kill('SIGKILL');
  await killed;
  expect((await volume('big')).state).toBe('creating');
  const other = await c.berth('volume', 'upload', file('other.img', disk(2 * MIB, 6)), 'big');
  expect(other.err).toMatch(/volume big exists already: another file is being uploaded to it/);
  const there = await eventually('the host has some', async () => (await opened(job!.id)).offset || false);
  expect(there).toBeLessThan(96 * MIB);
  const again = start();
  let heard = '';
  again.stderr.on('data', (d: Buffer) => (heard += d.toString()));
  await eventually('it goes on', async () => heard.includes('goes on'));
  expect((await some(there + MIB))?.id).toBe(job?.id);
  await c.controller.restart();
  const r = await again;
  expect([r.exitCode, r.stderr, r.stdout]).toEqual([
    0,
    expect.stringContaining('The upload of volume big goes on where it broke off.'),
    'volume big uploaded to h1: 96 MiB, qcow2',
  ]);
  expect((await volume('big')).state).toBe('ready');
  await c.waitUp('h1');
}, 120_000);

it('leave nothing when they are cancelled', async () => {
  const bytes = disk(2 * MIB, 7);
  const { jobId } = await begun('given-up', bytes);
  await c.ok('job', 'cancel', jobId);
  await gone('given-up');
  expect(await opened(jobId).catch((e: Error) => e.message)).toMatch(/no upload .* waits for bytes/);
});
