/** What people see: transcripts of the main commands on simulated hosts, with ids, times, sizes of files and ports made alike. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { execa } from 'execa';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { expectGolden } from '../harness/golden.ts';
import { PROGRAMS } from '../harness/processes.ts';

describe('the words of the command line', () => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start();
    await Promise.all(['h1', 'h2'].map((h) => c.addSimulated(h)));
    await c.waitUp('h1', 'h2');
    writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
    writeFileSync(join(c.dir, 'notes.txt'), 'shopping list\n'.repeat(50));
  });
  afterAll(() => c.stop());

  /** The command, its two streams and its exit code, as on a screen. */
  async function screen(...args: string[]): Promise<string> {
    const { code, out, err } = await c.berthWith({ cwd: c.dir }, ...args);
    const lines = [`$ berth ${args.join(' ')}`, out, err, ...(code === 0 ? [] : [`exit ${code}`])];
    return alike(lines.filter((l) => l !== '').join('\n'), c);
  }

  async function transcript(name: string, commands: readonly string[]): Promise<void> {
    const screens: string[] = [];
    for (const line of commands) screens.push(await screen(...line.split(' ')));
    expectGolden(import.meta.url, `cli-${name}.txt`, `${screens.join('\n\n')}\n`);
  }

  it('for images and VMs', () =>
    transcript('vms', [
      'vm list',
      'image import notes.txt',
      'image import base.img --host h1',
      'image list',
      'vm clone base web --host h1 --ip 10.77.0.11/24',
      'vm clone base web',
      'vm create big --disk 1G --memory 900G',
      'vm clone base a1 --host h1 --memory 1G --label tier=web',
      'vm start web',
      'vm start web',
      'vm list -o name',
      'vm show web',
      'vm show web a1 -o name',
      'vm show nosuch',
      'vm delete web',
      'vm suspend web',
      'vm list -o name',
      'vm show web',
      'vm stop web',
      'vm start web',
      'vm resume web',
      'vm resume web',
      'vm reboot web',
      'vm reset web',
      'vm reset a1',
      'vm send-keys web ctrl-alt-delete a a',
      'vm send-keys web boom',
      'vm send-keys a1 enter',
      'vm nmi web a1',
      'vm screenshot web web.png',
      'vm screenshot a1 a1.png',
      'vm screenshot web nosuch/web.png',
      'vm save web',
      'vm show web',
      'vm stop web',
      'vm start web',
      'vm save web',
      'vm start web --discard-saved',
      'vm suspend --all',
      'vm resume -l tier=db',
      'vm resume -l tier!=web',
      'vm stop web --force',
      'vm delete web',
      'vm delete a1',
      'vm list',
    ]));

  it('for hosts', () =>
    transcript('hosts', [
      'host show h1',
      'host drain h1',
      'host list -o name',
      'host resume h1',
      'host remove nosuch',
      'host show nosuch',
      'host check h1',
      'host check --all',
      'host check h1 --all',
      'host check h1 nosuch',
      'host check nosuch',
      'host check -o name',
      'host hardware h1',
      'host hardware h1 --only pci -o wide',
      'host hardware h1 --only fans',
      'host show h2 -o wide',
      'host tune h1',
      'host tune h1 --ksm on --hugepages 2M=512',
      'host tune h1 -o wide',
      'host tune h1 --ksm off -o json',
      'host tune h1 --ksm perhaps',
      'host tune h1 --hugepages 2MiB',
      'host tune h1 --io-scheduler sda=bfq',
      'host tune h1 --forget fans',
      'host tune nosuch --ksm on',
    ]));

  it('for wrong uses', () =>
    transcript('usage', [
      'vm strat web',
      'vm list web',
      'vm list -o xml',
      'vm start',
      'vm start web web',
      'vm stop web --all',
      'vm stop -l a --all',
      'vm stop web --force --timeout 5s',
      'vm stop web --timeout 0s',
      'vm delete --all',
      'vm clone base x --memory 12',
      'vm clone base x --vcpus many',
      'event list --limit x',
      'image import nosuch.img',
      'image import .',
      'job show nosuch',
      'token create eve --role king',
      '--context nosuch vm list',
      'completion fish',
    ]));

  it('finishes what is left with the same command', async () => {
    expect((await c.berth('vm', 'clone', 'base', 'm1', '--host', 'h1')).code).toBe(0);
    const first = await c.berth('vm', 'clone', 'base', 'm1', 'm2', 'm3', '--host', 'h1', '--start');
    expect(first.code, first.err).toBe(0);
    expect(first.out.split('\n').sort()).toEqual([
      'vm m1 is on h1 already, started  [  OK  ]',
      'vm m2 created on h1, started     [  OK  ]',
      'vm m3 created on h1, started     [  OK  ]',
    ]);
    expect(first.err).toMatch(/^3 of 3 done in [\d.]+ m?s\.$/);
    expect((await c.berth('vm', 'delete', 'm1', 'm2', 'm3', '--force')).code).toBe(0);
  });

  it('shows a job with its steps, and takes the beginning of its id', async () => {
    const [job] = await c.json<{ id: string; kind: string }[]>('job', 'list', '--limit', '1');
    const shown = await c.ok('job', 'show', job?.id.slice(0, -3) ?? '');
    expect(shown).toMatch(/^vm\.delete m\d +succeeded /);
    expect(shown).toMatch(/^ {2}✔ [a-z]+ .* m?s$/m);
    expect(await c.ok('job', 'list')).toMatch(/^JOB +KIND +SUBJECT +STATE +TOOK +AGE\njob-/);
  });

  it('prints data for programs, one document also for several names', async () => {
    await c.ok('vm', 'create', 'd1', 'd2', '--disk', '1M');
    const two = await c.json<{ name: string; spec: { memoryBytes: number } }[]>('vm', 'show', 'd1', 'd2');
    expect(two.map((v) => [v.name, v.spec.memoryBytes])).toEqual([
      ['d1', 512 * 2 ** 20],
      ['d2', 512 * 2 ** 20],
    ]);
    expect(await c.json<{ name: string }>('vm', 'show', 'd1')).toMatchObject({ name: 'd1' });
    expect(await c.ok('vm', 'list', '-o', 'yaml')).toMatch(/^- id: vm-/);
  });

  it('says when its output is lost, but nothing when the reader has seen enough', async () => {
    const env = { BERTH_CONFIG: c.configFile };
    const berth = (script: string) =>
      execa('bash', ['-c', script, process.execPath, PROGRAMS.berth], { env, reject: false });
    for (const command of ['host list', 'vm --help', 'completion bash']) {
      const lost = await berth(`"$0" "$1" ${command} >/dev/full`);
      expect(lost, command).toMatchObject({ exitCode: 1 });
      expect(lost.stderr).toMatch(/^berth: the output could not be written: ENOSPC: .*$/);
      const left = await berth(`set -o pipefail; "$0" "$1" ${command} | head -c 1`);
      expect(left, command).toMatchObject({ exitCode: 0, stderr: '' });
    }
    expect(await berth('"$0" "$1" vm show nosuch 2>/dev/full')).toMatchObject({ exitCode: 3, stderr: '' });
  });

  it('finishes what it was told to do when the reader of its lines leaves', async () => {
    const env = { BERTH_CONFIG: c.configFile };
    const names = Array.from({ length: 40 }, (_, i) => `p${i}`).join(' ');
    const berth = (command: string) =>
      execa('bash', ['-c', `set -o pipefail; "$0" "$1" ${command} | head -n 1`, process.execPath, PROGRAMS.berth], {
        env,
        reject: false,
      });
    expect((await berth(`vm create ${names} --disk 1M`)).exitCode).toBe(0);
    expect((await c.ok('vm', 'list', '-o', 'name')).split('\n').filter((n) => n.startsWith('p'))).toHaveLength(40);
    expect((await berth(`vm delete ${names} nosuch`)).exitCode).toBe(1);
    expect((await c.ok('vm', 'list', '-o', 'name')).split('\n').filter((n) => n.startsWith('p'))).toEqual([]);
  });

  it('tells both versions, and its own when nobody answers', async () => {
    expect(await c.ok('version')).toMatch(/^berth {7}(\S+)\ncontroller {2}\1, 127\.0\.0\.1:\d+, logged in as admin/);
    const r = await c.berthWith({ env: { BERTH_CONFIG: join(c.dir, 'none.yaml') } }, 'version');
    expect(r).toMatchObject({ code: 0 });
    expect(r.err).toMatch(/^controller {2}not logged in/);
  });

  it('shows the verbs of a noun that stands alone', async () => {
    const r = await c.berth('host');
    expect(r).toMatchObject({ code: 2 });
    expect(r.err).toMatch(/^Usage: berth host.*\n[\s\S]*drain/);
  });

  it('completes nouns, verbs and names', async () => {
    expect((await c.ok('completion', 'words', '')).split('\n')).toEqual(
      expect.arrayContaining(['vm', 'host', 'login', 'version']),
    );
    expect((await c.ok('completion', 'words', 'vm', 'show', '')).split('\n')).toEqual(['d1', 'd2']);
  });
});

/** The same text for every run: what differs from run to run is replaced, with its width kept where columns depend on it. */
function alike(text: string, c: Cluster): string {
  return text
    .replaceAll(c.dir, 'DIR')
    .replace(/\b(vm|host|image|volume|job)-[0-9a-z]{21}\b/g, '$1-ID')
    .replace(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'UUID')
    .replace(/\b52:54:00(:[0-9a-f]{2}){3}\b/g, 'MAC')
    .replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replace(/\b\d+(\.\d+)? (ms|s|m)\b/g, 'TIME')
    .replace(/\d+ % used, load [\d.]+/g, 'N % used, load N')
    .replace(/^cpu used:( +)\d+ %$/m, 'cpu used:$1N %')
    .replace(/[\d.]+ \S+ used;/, 'N used;')
    .replace(/^(NAME.*AGE)(\n.*?)+$/m, (table) => table.replace(/ +TIME/g, '  TIME'));
}
