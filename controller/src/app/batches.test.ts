import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import type { BatchAnswer, BatchRow, CloneMany } from './batch-request.ts';

let c: AppCluster;
beforeEach(async () => {
  c = await AppCluster.make();
  expect(await c.import('base')).toBe('succeeded');
});

const ROW: BatchRow = {
  ...{ name: '', host: '', hostSelector: '', address: '', gateway: '', dns: [], mac: '' },
  ...{ vncPort: 0, memoryBytes: 0, vcpus: 0, sshKeys: [], line: 0 },
};
const ALL: CloneMany['all'] = {
  ...{ image: 'base', name: '', vcpus: 0, memoryBytes: 0, diskSizeBytes: 0, host: '', bridge: '', mac: '' },
  ...{ labels: {}, dryRun: false, address: '', gateway: '', dns: [], sshKeys: [], userData: '' },
};
type Over = Partial<Omit<CloneMany, 'rows' | 'all'>> & { all?: Partial<CloneMany['all']> };

const many = (rows: readonly Partial<BatchRow>[], { all, ...over }: Over = {}): CloneMany => ({
  ...{ atomic: false, dryRun: false, addressRange: '', firstVncPort: 0, ...over },
  all: { ...ALL, ...all },
  rows: rows.map((r) => ({ ...ROW, ...r })),
});
const SEES = { vm: () => true, host: () => true };
const clone = (rows: readonly Partial<BatchRow>[], over?: Over): Promise<BatchAnswer> =>
  c.timed(c.life.batches.clone(many(rows, over), 'test', SEES));
const refusal = async (rows: readonly Partial<BatchRow>[], over?: Over) => {
  const e = await clone(rows, over).catch((x: unknown) => x);
  const { reason, message } = e as { reason: string; message: string };
  return { reason, lines: message.replace(/job-\w+/g, 'JOB').split('\n') };
};
const named = (n: number) => Array.from({ length: n }, (_, i) => ({ name: `web-${String(i + 1).padStart(2, '0')}` }));
const vm = (name: string) => c.life.state.tables.vms.byName(name);
const made = (n: number): boolean =>
  [...c.life.state.tables.vms.values()].filter((v) => c.sim.hosts.vm(v.id) !== undefined).length >= n;
const nothingThere = () => {
  const { vms, claims, jobs } = c.life.state.tables;
  expect([vms.size, claims.size, jobs.open().length]).toEqual([0, 0, 0]);
};

describe('a batch', () => {
  it('makes all of them, spread over the hosts, each with the identity of its row', async () => {
    const rows = [
      { name: 'a', address: '10.0.0.5/24', gateway: '10.0.0.1', mac: '52:54:00:00:00:AA', vncPort: 5901, vcpus: 2 },
      { name: 'b', host: 'h2', memoryBytes: 2 ** 30, sshKeys: ['ssh-ed25519 AAAA me'], dns: ['10.0.0.2'] },
      { name: 'c', userData: '#cloud-config\n' },
    ];
    const answer = await clone(rows, { all: { dns: ['10.0.0.3'] } });
    expect(answer.vms.map((v) => v.host).sort()).toEqual(['h1', 'h2', 'h3']);
    expect(await c.ended(answer.jobId)).toBe('succeeded');
    expect(vm('a')).toMatchObject({ phase: 'ready', spec: { vcpus: 2 } });
    expect(vm('a')?.spec.nics[0]).toMatchObject({
      ...{ address: '10.0.0.5/24', gateway: '10.0.0.1', mac: '52:54:00:00:00:aa', dns: ['10.0.0.3'] },
    });
    expect(vm('a')?.spec.hardware?.graphics).toEqual([{ type: 'vnc', listen: '127.0.0.1', port: 5901 }]);
    expect(vm('b')?.spec).toMatchObject({ memoryBytes: 2 ** 30, sshKeys: ['ssh-ed25519 AAAA me'] });
    expect(vm('b')?.spec.nics[0]?.dns).toEqual(['10.0.0.2']);
    expect(vm('c')?.spec.userData).toBe('#cloud-config\n');
    expect(vm('a')?.batchId).toBeUndefined();
    const job = await c.life.jobs.view(answer.jobId!);
    expect(job.subject).toBe('a and 2 more');
    const parts = job.steps.filter((s) => s.partOf === 'rows');
    expect(parts.map((s) => [s.name, s.state, s.detail.replace(/h\d/, 'H')])).toEqual(
      ['a', 'b', 'c'].map((n) => [n, 'succeeded', 'created on H']),
    );
    expect(c.life.state.tables.jobs.get(parts[0]!.jobId!)).toMatchObject({ kind: 'vm.clone', subject: 'a' });
  });

  it('names every conflict with its row and both parties, and makes nothing', async () => {
    await c.done(c.clone('web', { address: '10.0.0.9/24', mac: '52:54:00:00:00:01' }));
    const before = c.life.state.tables.vms.size;
    const rows = [
      { name: 'a', address: '10.0.0.5/24', line: 2 },
      { name: 'b', address: '10.0.0.5/16', line: 3 },
      { name: 'a', line: 4 },
      { name: 'c', address: '10.0.0.9/24', line: 5 },
      { name: 'd', mac: '52-54-00-00-00-01', line: 6 },
      { name: 'e', mac: '52:54:00:00:00:02', line: 7 },
      { name: 'f', mac: '52:54:00:00:00:02', line: 8 },
      { name: 'g', address: '10.0.0.20/24', gateway: '10.0.1.1', line: 9 },
      { name: 'H', line: 10 },
      { name: 'web', address: '10.0.0.10/24', line: 11 },
      { name: 'i', host: 'h9', line: 12 },
      { name: 'j', vncPort: 80, line: 13 },
      { name: 'k', address: '10.0.0.255/24', line: 14 },
    ];
    const { reason, lines } = await refusal(rows);
    expect(reason).toBe('INVALID_ARGUMENT');
    expect(lines).toMatchInlineSnapshot(`
      [
        "nothing was made:",
        "line 3 (b): address 10.0.0.5 is also that of line 2 (a)",
        "line 4 (a): name a is also that of line 2 (a)",
        "line 5 (c): address 10.0.0.9 is taken by vm web on br0. If these are two networks, or both are meant to have it: --allow-taken-ip",
        "line 6 (d): MAC address 52:54:00:00:00:01 is taken by vm web",
        "line 8 (f): MAC address 52:54:00:00:00:02 is also that of line 7 (e)",
        "line 9 (g): the gateway 10.0.1.1 is not in the network of 10.0.0.20/24, which is 10.0.0.0/24",
        "line 10 (H): "H" cannot be the name of a vm: use up to 63 small letters, digits and hyphens, with a letter or digit at both ends (like web-01)",
        "line 11 (web): vm web is there already, with address 10.0.0.9/24 instead of 10.0.0.10/24",
        "line 12 (i): host h9 does not exist. Did you mean h1 or h2 or h3?",
        "line 13 (j): VNC port 80 cannot be had: they go from 5900 to 65535",
        "line 14 (k): 10.0.0.255/24 cannot be the address of a guest: it is the broadcast address of its network",
      ]
    `);
    expect(c.life.state.tables.vms.size).toBe(before);
    expect(c.life.state.tables.jobs.open()).toEqual([]);
  });

  it('names all that is wrong in one row, and a port that two rows of a host share', async () => {
    const { lines } = await refusal([
      { name: 'a', host: 'h1', vncPort: 5911 },
      { name: 'B', host: 'h9', address: '10.0.0.300/24', gateway: 'gw', dns: ['x'], mac: 'zz', sshKeys: ['hello'] },
      { name: 'c', host: 'h1', vncPort: 5911 },
      { name: 'd', host: 'h2', vncPort: 5911 },
      { name: 'a', hostSelector: 'a b=c', address: '10.0.0.0/24' },
    ]);
    expect(lines).toMatchInlineSnapshot(`
      [
        "nothing was made:",
        "row 2 (B): "B" cannot be the name of a vm: use up to 63 small letters, digits and hyphens, with a letter or digit at both ends (like web-01)",
        "row 2 (B): host h9 does not exist. Did you mean h1 or h2 or h3?",
        "row 2 (B): "10.0.0.300/24" is not an address with a prefix: write it like 10.0.0.11/24",
        "row 2 (B): the gateway must be an IP address, not "gw"",
        "row 2 (B): a DNS server must be an IP address, not "x"",
        "row 2 (B): "zz" is not a MAC address: write it like 52:54:00:1a:2b:3c",
        "row 2 (B): "hello" is not an SSH public key (ssh-ed25519 AAAA…)",
        "row 3 (c): VNC port 5911 of host h1 is also that of row 1 (a)",
        "row 5 (a): "a b=c" selects nothing: write it like team=a, tier!=db, zone or !zone",
        "row 5 (a): 10.0.0.0/24 cannot be the address of a guest: it is the network itself",
        "row 5 (a): name a is also that of row 1 (a)",
      ]
    `);
    nothingThere();
  });

  it('places all together: what does not fit is told for each, and nobody takes the room between', async () => {
    // 15 GiB for guests on each of three hosts
    const { reason, lines } = await refusal(named(7), { all: { memoryBytes: 7 * 2 ** 30, start: true } });
    expect(reason).toBe('NO_CAPACITY');
    expect(lines).toMatchInlineSnapshot(`
      [
        "nothing was made:",
        "row 7 (web-07): no host has room: h1 memory 1.1 GiB free of 7.1 GiB wanted (132 MiB of it for QEMU); h2 memory 1.1 GiB free of 7.1 GiB wanted (132 MiB of it for QEMU); h3 memory 1.1 GiB free of 7.1 GiB wanted (132 MiB of it for QEMU)",
      ]
    `);
    nothingThere();
    const fits = await clone(named(6), { all: { memoryBytes: 7 * 2 ** 30, start: true } });
    expect(c.life.state.tables.claims.size).toBe(6);
    const late = await c.clone('late', { memoryBytes: 7 * 2 ** 30, start: true }).catch((e: unknown) => e);
    expect(late).toMatchObject({ reason: 'NO_CAPACITY' });
    expect(await c.ended(fits.jobId)).toBe('succeeded');
  });

  it('tells once what keeps many of them out', async () => {
    const { lines } = await refusal(named(40), { all: { memoryBytes: 64 * 2 ** 30 } });
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(
      /^row 1 \(web-01\) and 39 more: no host has room: h1 memory [^;]*; h2 memory [^;]*; h3 memory/,
    );
    nothingThere();
  });

  it('tells nobody of hosts that they may not see', async () => {
    const wanted = many(named(1), { all: { memoryBytes: 64 * 2 ** 30 } });
    const sees = { vm: () => true, host: (h: { name: string }) => h.name === 'h2' };
    const e = (await c.timed(c.life.batches.clone(wanted, 'test', sees).catch((x: unknown) => x))) as ClusterError;
    expect(e.message).toMatch(/no host has room: h2 memory [^;]*; 2 that you may not see$/);
    expect(e.meta).toEqual({});
  });

  it('gives a row that can only go to one host its room before rows that can go anywhere', async () => {
    const rows = [...named(4), { name: 'pinned-1', host: 'h1' }, { name: 'pinned-2', host: 'h1' }];
    const { vms, conflicts } = await clone(rows, { dryRun: true, all: { memoryBytes: 7 * 2 ** 30, start: true } });
    expect(conflicts).toEqual([]);
    expect(vms.map((v) => v.host)).toEqual(['h2', 'h3', 'h2', 'h3', 'h1', 'h1'].map(() => expect.any(String)));
    expect(vms.slice(4).map((v) => v.host)).toEqual(['h1', 'h1']);
    expect(
      vms
        .slice(0, 4)
        .map((v) => v.host)
        .sort(),
    ).toEqual(['h2', 'h2', 'h3', 'h3']);
  });

  it('of a VM is looked at before its disks are captured, and leaves nothing', async () => {
    await c.done(c.clone('web', { address: '10.0.0.9/24' }));
    await c.done(c.clone('other'));
    const of = { vm: 'web', snapshot: '' };
    const before = [...c.life.state.tables.images.values()].map((i) => i.name);
    const fine = await clone(named(2), { of, all: { image: '' } });
    expect(fine).toMatchObject({ jobId: undefined, conflicts: [] });
    expect(fine.vms.map((v) => v.host)).toEqual([expect.stringMatching(/^h\d$/), expect.stringMatching(/^h\d$/)]);
    const rows = [{ name: 'other' }, { name: 'new', address: '10.0.0.9/24' }];
    const refused = await refusal(rows, { of });
    expect(refused.reason).toBe('ALREADY_EXISTS');
    expect(refused.lines).toEqual([
      'nothing was made:',
      'row 1 (other): vm other is there already, with image base instead of vm/web',
      expect.stringMatching(/^row 2 \(new\): address 10\.0\.0\.9 is taken by vm web on br0/),
    ]);
    expect((await clone(rows, { of, dryRun: true })).conflicts).toHaveLength(2);
    expect(await refusal(named(1), { of: { vm: 'nobody', snapshot: '' } })).toMatchObject({ reason: 'NOT_FOUND' });
    expect(await refusal(named(1), { of, all: { diskSizeBytes: 512 } })).toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect([...c.life.state.tables.images.values()].map((i) => i.name)).toEqual(before);
    expect([...c.life.state.tables.vms.values()].map((v) => v.name).sort()).toEqual(['other', 'web']);
  });

  it('takes a port once on a host, and the next host for the next', async () => {
    const rows = named(4).map((r) => ({ ...r, vncPort: 5902 }));
    const { lines } = await refusal(rows);
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(/^row 4 \(web-04\): no host has room: h1 port 5902 is taken by vm web-0\d; h2 port /);
    const { jobId, vms } = await clone(rows.slice(0, 3));
    expect(new Set(vms.map((v) => v.host)).size).toBe(3);
    expect(await c.ended(jobId)).toBe('succeeded');
    const counted = await clone([{ name: 'x' }, { name: 'y' }], { firstVncPort: 5910, all: { host: 'h1' } });
    expect(counted.vms.map((v) => v.vncPort)).toEqual([5910, 5911]);
  });

  it('goes to hosts with such labels only', async () => {
    const { state } = c.life;
    await c.timed(state.update((tx) => tx.hosts.put({ ...tx.hosts.byName('h3')!, labels: { zone: 'b' } })));
    const { vms } = await clone(
      [
        { name: 'a', hostSelector: 'zone=b' },
        { name: 'b', hostSelector: 'zone' },
      ],
      { dryRun: true },
    );
    expect(vms.map((v) => v.host)).toEqual(['h3', 'h3']);
    expect((await refusal([{ name: 'a', hostSelector: 'zone=c' }])).lines[1]).toBe(
      'row 1 (a): no host has labels like zone=c',
    );
  });

  it('leaves alone what is there, and finishes the rest', async () => {
    const rows = named(3).map((r, i) => ({ ...r, address: `10.0.0.${i + 10}/24` }));
    expect(await c.ended((await clone(rows.slice(0, 2))).jobId)).toBe('succeeded');
    const again = await clone(rows);
    expect(again.vms.map((v) => v.thereAlready)).toEqual([true, true, false]);
    expect(await c.ended(again.jobId)).toBe('succeeded');
    expect(await clone(rows)).toMatchObject({ jobId: undefined, conflicts: [] });
    expect(await refusal([{ ...rows[0], address: '10.0.0.99/24' }])).toEqual({
      reason: 'ALREADY_EXISTS',
      lines: [
        'nothing was made:',
        'row 1 (web-01): vm web-01 is there already, with address 10.0.0.10/24 instead of 10.0.0.99/24',
      ],
    });
  });

  it('tells of a VM that another batch is making, and of the job', async () => {
    const first = await clone(named(2));
    expect(await refusal(named(2))).toEqual({
      reason: 'RESOURCE_BUSY',
      lines: [
        'nothing was made:',
        'row 1 (web-01): vm web-01 is being made. Wait for it: berth job watch JOB',
        'row 2 (web-02): vm web-02 is being made. Wait for it: berth job watch JOB',
      ],
    });
    expect(await c.ended(first.jobId)).toBe('succeeded');
  });

  it('shows in a dry run what the same request then does', async () => {
    const wanted = { addressRange: '10.0.0.10-10.0.0.40/24' };
    const dry = await clone(named(3), { ...wanted, dryRun: true });
    nothingThere();
    const { vms } = await clone(named(3), wanted);
    expect(vms.map(({ address, mac }) => [address, mac])).toEqual(dry.vms.map(({ address, mac }) => [address, mac]));
  });
});

describe('a range of addresses', () => {
  it('leaves out what others have, what the network needs, and what other rows say', async () => {
    await c.done(c.clone('old', { address: '10.0.0.3/24' }));
    const rows = [{ name: 'a' }, { name: 'b', address: '10.0.0.4/24' }, { name: 'c' }, { name: 'd' }];
    const over = { addressRange: '10.0.0.0/24', all: { gateway: '10.0.0.1', dns: ['10.0.0.6'] }, dryRun: true };
    const { vms, notes, conflicts } = await clone(rows, over);
    expect(conflicts).toEqual([]);
    expect(vms.map((v) => v.address)).toEqual(['10.0.0.2/24', '10.0.0.4/24', '10.0.0.5/24', '10.0.0.7/24']);
    expect(notes).toEqual([
      '10.0.0.1 is left out: it is a gateway',
      '10.0.0.3 is left out: vm old has it',
      '10.0.0.4 is left out: it is that of row 2 (b)',
      '10.0.0.6 is left out: it is a name server',
    ]);
  });

  it('is refused with numbers when it is too small', async () => {
    await c.done(c.clone('old', { address: '10.0.0.10/24' }));
    expect(await refusal(named(4), { addressRange: '10.0.0.10-10.0.0.12/24' })).toEqual({
      reason: 'NO_CAPACITY',
      lines: [
        'nothing was made:',
        'the range 10.0.0.10-10.0.0.12/24 has 3 addresses, 2 of them free, and 4 VMs need one: make it larger',
      ],
    });
  });

  it('gives VMs that are there what they have, and the next ones what is left', async () => {
    const range = { addressRange: '10.0.0.10-10.0.0.20/24' };
    expect(await c.ended((await clone(named(2), range)).jobId)).toBe('succeeded');
    const { vms } = await clone([{ name: 'new' }, ...named(2)], { ...range, dryRun: true });
    expect(vms.map((v) => v.address)).toEqual(['10.0.0.12/24', '10.0.0.10/24', '10.0.0.11/24']);
    expect((await refusal(named(1), { addressRange: '10.1.0.10-10.1.0.20/24' })).lines[1]).toBe(
      'row 1 (web-01): vm web-01 is there already, with address 10.0.0.10/24, which is not of 10.1.0.10-10.1.0.20/24',
    );
  });

  it('can be of IPv6', async () => {
    const { vms } = await clone(named(2), { addressRange: '2001:db8::/64', dryRun: true });
    expect(vms.map((v) => v.address)).toEqual(['2001:db8::1/64', '2001:db8::2/64']);
  });
});

describe('when one fails', () => {
  /** The host it goes to has no room for the image. */
  const fill = (host: string) => (c.sim.hosts.host(c.hostId(host)).diskFull = true);
  const rows = () => [
    { name: 'a', host: 'h1' },
    { name: 'b', host: 'h2' },
    { name: 'c', host: 'h3' },
  ];

  it('leaves the others, says which, and finishes with the same request', async () => {
    fill('h2');
    const { jobId } = await clone(rows());
    expect(await c.ended(jobId)).toBe('failed');
    expect(c.life.state.tables.jobs.get(jobId!)?.error?.message).toMatch(
      /^1 of 3 VMs failed: b: image\.fetch base failed: /,
    );
    expect(['a', 'b', 'c'].map((n) => vm(n)?.phase)).toEqual(['ready', undefined, 'ready']);
    expect(c.life.state.tables.claims.size).toBe(2);
    c.sim.hosts.host(c.hostId('h2')).diskFull = false;
    const again = await clone(rows());
    expect(again.vms.map((v) => v.thereAlready)).toEqual([true, false, true]);
    expect(await c.ended(again.jobId)).toBe('succeeded');
  });

  it('takes all of them back when it is atomic, also when the controller dies meanwhile', async () => {
    fill('h2');
    const { jobId } = await clone(rows(), { atomic: true, all: { start: true } });
    await c.restart();
    expect(await c.ended(jobId)).toBe('failed');
    nothingThere();
    const parts = (await c.life.jobs.view(jobId!)).steps.filter((s) => s.partOf === 'rows');
    // that which failed says why; what was made and taken back says no more that it was made
    expect(parts.find((s) => s.name === 'b')).toMatchObject({ state: 'undone', detail: expect.stringMatching(/full/) });
    expect(parts.filter((s) => s.detail.includes('created'))).toEqual([]);
    expect(c.life.state.tables.jobs.get(jobId!)?.error?.message).toMatch(/^1 of 3 VMs failed, so none was made: b: /);
    for (const host of ['h1', 'h2', 'h3'])
      expect(c.sim.hosts.host(c.hostId(host)).contents()).toMatchObject({ domains: [], volumes: [] });
  });

  it('waits for a host that is away, as all are when the controller begins', async () => {
    const begun = c.life.batches.clone(many(rows()), 'test', SEES);
    c.sim.hosts.disconnect(c.hostId('h2'));
    const { jobId } = await c.timed(begun);
    for (let n = 0; n < 300 && vm('c')?.phase !== 'ready'; n++) await c.sim.clock.advance(100);
    expect(['a', 'b', 'c'].map((n) => vm(n)?.phase)).toEqual(['ready', 'creating', 'ready']);
    c.sim.hosts.connect(c.hostId('h2'));
    expect(await c.ended(jobId)).toBe('succeeded');
  });

  it('goes to another host when one stays away, unless a row says that one', async () => {
    const begun = c.life.batches.clone(many([...named(6), { name: 'there', host: 'h2' }]), 'test', SEES);
    c.sim.hosts.disconnect(c.hostId('h2'));
    const { jobId, vms } = await c.timed(begun);
    expect(vms.filter((v) => v.host === 'h2').length).toBeGreaterThan(1);
    expect(await c.ended(jobId)).toBe('failed');
    expect(c.life.state.tables.jobs.get(jobId!)?.error).toMatchObject({
      reason: 'HOST_UNREACHABLE',
      message: '1 of 7 VMs failed: there: vm there was to be made on h2, but h2 unreachable',
    });
    expect(named(6).map((r) => vm(r.name)?.phase)).toEqual(named(6).map(() => 'ready'));
    expect([...c.life.state.tables.claims.values()].map((k) => k.hostId)).not.toContain(c.hostId('h2'));
  });

  it('takes back as many at a time as it makes', async () => {
    const { state } = c.life;
    const rows = named(60).map((r) => ({ ...r, host: 'h1', memoryBytes: 16 * 2 ** 20 }));
    const { jobId } = await clone(rows, { atomic: true });
    for (let n = 0; n < 5000 && !made(50); n++) await c.sim.clock.step();
    let most = 0;
    const end = state.subscribe(() => {
      most = Math.max(most, state.tables.jobs.open().filter((j) => j.kind === 'vm.delete').length);
    });
    await c.timed(c.life.jobs.cancel(jobId!));
    expect(await c.ended(jobId)).toBe('cancelled');
    end();
    nothingThere();
    expect(most).toBe(8);
  });

  it('shows none before all are made when it is atomic, and starts them then', async () => {
    const { jobId } = await clone(rows(), { atomic: true, all: { start: true } });
    const phases = () => ['a', 'b', 'c'].map((n) => vm(n)?.phase);
    const seen = new Set<string>();
    const { state } = c.life;
    const end = state.subscribe(() => seen.add(phases().join()));
    expect(await c.ended(jobId)).toBe('succeeded');
    end();
    expect([...seen]).toEqual(['creating,creating,creating', 'ready,ready,ready']);
    for (let n = 0; n < 500 && state.tables.jobs.open().length > 0; n++) await c.sim.clock.advance(100);
    expect(['a', 'b', 'c'].map((n) => vm(n)?.desiredPower)).toEqual(['on', 'on', 'on']);
  });
});

describe('a cancelled batch', () => {
  it('leaves nothing when it had not begun, and so does a single clone', async () => {
    for (const begin of [() => c.life.batches.clone(many(named(3)), 'test', SEES), () => c.clone('web')]) {
      const begun = begin();
      const [job] = c.life.state.tables.jobs.open();
      const cancelled = c.life.jobs.cancel(job!.id);
      await c.timed(Promise.all([begun, cancelled]));
      expect(await c.ended(job!.id)).toBe('cancelled');
      nothingThere();
    }
  });

  it('keeps what is made, and takes back what is not', async () => {
    c.sim.hosts.host(c.hostId('h2')).up = false;
    const { jobId } = await clone([{ name: 'a', host: 'h1' }, ...named(20).map((r) => ({ ...r, host: 'h1' }))]);
    for (let n = 0; n < 5000 && vm('a')?.phase !== 'ready'; n++) await c.sim.clock.step();
    await c.timed(c.life.jobs.cancel(jobId!));
    expect(await c.ended(jobId)).toBe('cancelled');
    const { vms, claims, jobs } = c.life.state.tables;
    expect([...vms.values()].map((v) => v.phase)).toEqual([...vms.values()].map(() => 'ready'));
    expect(vms.size).toBeLessThan(21);
    expect(claims.size).toBe(vms.size);
    expect(jobs.open()).toEqual([]);
  });
});

it('looks once for the hosts that have an image, however many rows want it', async () => {
  const found = vi.spyOn(c.life.state.tables.imageCopies, 'byImage');
  await clone(named(40), { dryRun: true, firstVncPort: 6000 });
  expect(found.mock.calls.length).toBeLessThan(5);
});

it('checks a thousand rows in well under the time that a person waits', async () => {
  const rows = Array.from({ length: 1000 }, (_, i) => ({ name: `n-${i}`, memoryBytes: 16 * 2 ** 20 }));
  const started = performance.now();
  const { conflicts } = await clone(rows, { dryRun: true, addressRange: '10.0.0.0/16', firstVncPort: 6000 });
  const tookMs = performance.now() - started;
  expect(conflicts.filter((x) => x.reason !== 'NO_CAPACITY')).toEqual([]);
  console.log(`1000 rows checked in ${Math.round(tookMs)} ms`);
  expect(tookMs).toBeLessThan(10_000);
});
