/** Guest agents over a libvirt that answers as a test wants: what is asked, what its errors mean, and what is saved and damaged. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { GuestEvent } from '../guest-agents.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { FakeLibvirtd, Refusal } from './fake-libvirtd.ts';
import { createLibvirtHypervisor } from './hypervisor.ts';
import { EVENT, PROC } from './procedures.ts';
import type { TypedParam } from './types.ts';

const WEB = '11111111-2222-4333-8444-555555555555';
const [RUNNING, STOPPED] = [1, 5];
const DOM = { name: 'web', uuid: WEB, id: 1 };
let server: FakeLibvirtd;
let hypervisor: Hypervisor;
let timeouts: number[];

beforeEach(async () => {
  server = await new FakeLibvirtd().listen();
  server.domains.set(WEB, { uuid: WEB, name: 'web', state: RUNNING, reason: 1, metadata: '<vm/>' });
  timeouts = [];
  server.on(PROC.agentTimeout, ({ seconds }) => (timeouts.push(seconds), { result: 0 }));
  const random = { next: () => 0 };
  hypervisor = createLibvirtHypervisor({
    ...{ socketPath: server.socketPath, clock: systemClock, random, log: createLog('test', 'silent') },
  });
  await hypervisor.list();
});
afterEach(async () => {
  await hypervisor.close();
  await server.dispose();
});
const agents = () => hypervisor.guests;
const refuse =
  (code: number, words = 'x') =>
  () => {
    throw new Refusal(code, words);
  };

const text = (field: string, value: string): TypedParam => ({ field, value: { type: 'string', value } });
const count = (field: string, value: number): TypedParam => ({ field, value: { type: 'uint', value } });
const long = (field: string, value: bigint): TypedParam => ({ field, value: { type: 'ullong', value } });

it('tells libvirt how long an agent may take, and reads what it says', async () => {
  server.on(PROC.guestInfo, () => ({
    params: [
      ...[
        text('hostname', 'web'),
        text('os.name', 'Debian'),
        text('os.version', '12'),
        text('os.kernel-release', '6.1'),
      ],
      ...[count('fs.count', 1), text('fs.0.mountpoint', '/'), text('fs.0.fstype', 'ext4')],
      ...[long('fs.0.total-bytes', 100n), long('fs.0.used-bytes', 2n ** 63n)],
      ...[count('user.count', 1), text('user.0.name', 'ann'), long('user.0.login-time', 5n)],
      ...[count('if.count', 1), text('if.0.name', 'eth0'), text('if.0.hwaddr', '52:54:00:00:00:01')],
      ...[count('if.0.addr.count', 1), text('if.0.addr.0.addr', '10.0.0.5'), count('if.0.addr.0.prefix', 24)],
    ],
  }));
  expect(await agents().read(WEB)).toEqual({
    ...{ hostname: 'web', os: 'Debian 12', kernel: '6.1' },
    users: [{ name: 'ann', loginAtMs: 5 }],
    fileSystems: [{ mountPoint: '/', type: 'ext4', totalBytes: 100n, usedBytes: 2n ** 63n }],
    interfaces: [{ name: 'eth0', mac: '52:54:00:00:00:01', addresses: [{ address: '10.0.0.5', prefix: 24 }] }],
  });
  expect(timeouts).toEqual([5]);
});

it('asks an older libvirt for the addresses by themselves, and bears counts that are lies', async () => {
  server.on(PROC.guestInfo, () => ({ params: [count('fs.count', 2 ** 31), count('user.count', 0)] }));
  const addresses = [{ type: 0, address: '10.0.0.5', prefix: 24 }];
  server.on(PROC.interfaceAddresses, () => ({ interfaces: [{ name: 'eth0', mac: undefined, addresses }] }));
  const said = await agents().read(WEB);
  expect(said.interfaces).toEqual([{ name: 'eth0', mac: '', addresses: [{ address: '10.0.0.5', prefix: 24 }] }]);
  expect(said.fileSystems!.length).toBeLessThanOrEqual(2_048);
});

it.each([
  [
    'no agent',
    86,
    'disconnected',
    'BAD_STATE',
    /no guest agent answers in vm web\. Install one in the guest: apt install/,
  ],
  ['one that hangs', 86, 'connected', 'DEADLINE_EXCEEDED', /guest agent of vm web does not answer/],
  ['one that answered too late', 111, 'connected', 'DEADLINE_EXCEEDED', /does not answer/],
  ['no channel', 74, '', 'BAD_STATE', /vm web runs without a channel .*next started/],
  ['one that refuses', 112, 'connected', 'BAD_STATE', /could not freeze its file systems: no way$/],
  ['one that is too old', 84, 'connected', 'UNSUPPORTED', /could not freeze its file systems/],
] as const)('says of %s what it is and what to do', async (_, code, state, reason, words) => {
  const said = `internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': no\x1b way\nroot#`;
  server.on(PROC.freeze, refuse(code, said));
  server.on(PROC.getXml, () => ({ xml: `<target type='virtio' name='org.qemu.guest_agent.0' state='${state}'/>` }));
  await expect(agents().freeze(WEB)).rejects.toMatchObject({ reason, message: expect.stringMatching(words) });
  expect(timeouts).toEqual([60]);
});

it('sets the clock to the millisecond, and reads it back', async () => {
  let clock = { seconds: 0n, nanoseconds: 0 };
  server.on(PROC.setTime, (args) => void (clock = args));
  server.on(PROC.getTime, () => clock);
  await agents().setTime(WEB, 1_700_000_000_123);
  expect(clock).toMatchObject({ seconds: 1_700_000_000n, nanoseconds: 123_000_000 });
  expect(await agents().readTime(WEB)).toBe(1_700_000_000_123);
});

it('runs a program by the agent of QEMU, which speaks a program of its own on the wire', async () => {
  const asked: unknown[] = [];
  const said = { exited: true, exitcode: 3, 'out-data': Buffer.from('hi').toString('base64'), 'out-truncated': true };
  server.on(PROC.agentCommand, ({ command }) => {
    const { execute, arguments: given } = JSON.parse(command) as { execute: string; arguments: object };
    asked.push(given);
    return { result: JSON.stringify({ return: execute === 'guest-exec' ? { pid: 42 } : said }) };
  });
  const program = { program: '/bin/x', arguments: ['-a', '"b"'], environment: ['A=1'], input: Buffer.from('in') };
  expect(await agents().run(WEB, program)).toBe(42);
  expect(await agents().look(WEB, 42)).toMatchObject({
    ended: true,
    exitCode: 3,
    output: Buffer.from('hi'),
    truncated: true,
  });
  expect(asked[0]).toEqual({
    path: '/bin/x',
    arg: ['-a', '"b"'],
    env: ['A=1'],
    'input-data': 'aW4=',
    'capture-output': true,
  });
});

it.each(['', 'nonsense', '{"return":{}}', '{"return":{"pid":-1}}', '{"return":{"pid":"1"}}', '[]', 'null'])(
  'an answer that makes no sense (%s) is an error in words',
  async (result) => {
    server.on(PROC.agentCommand, () => ({ result }));
    const program = { program: '/bin/x', arguments: [], environment: [], input: Buffer.alloc(0) };
    await expect(agents().run(WEB, program)).rejects.toMatchObject({
      reason: 'BAD_STATE',
      message: 'the guest agent of vm web could not run /bin/x: its answer makes no sense',
    });
  },
);

it('a shutdown through the agent that libvirt waits for has been taken', async () => {
  server.on(PROC.shutdown, refuse(86));
  server.on(PROC.getXml, () => ({ xml: '' }));
  await expect(agents().ask(WEB, 'shutdown')).rejects.toMatchObject({ reason: 'BAD_STATE' });
  const flags: number[] = [];
  server.on(PROC.reboot, (args) => void flags.push(args.flags));
  await agents().ask(WEB, 'reboot');
  expect(flags).toEqual([2]);
});

it('a guest that is off before its agent has answered has done what was asked; one that runs on has not', async () => {
  let looks = 0;
  server.on(PROC.shutdown, () => {
    throw new Refusal(1, 'internal error: End of file from agent socket');
  });
  server.on(PROC.getState, () => ({ state: ++looks > 2 ? STOPPED : RUNNING, reason: 1 }));
  await agents().ask(WEB, 'shutdown');
  expect(looks).toBe(3);
  server.on(PROC.getState, () => ({ state: RUNNING, reason: 1 }));
  await expect(agents().ask(WEB, 'shutdown')).rejects.toMatchObject({
    reason: 'BAD_STATE',
    message: expect.stringContaining('End of file from agent socket') as string,
  });
});

it('tells of agents that come and go, and of guests that reset', async () => {
  const heard: GuestEvent[] = [];
  agents().subscribe((e) => heard.push(e));
  await hypervisor.list();
  server.emit(EVENT.agentLifecycle, { callbackId: 1, dom: DOM, state: 1, reason: 2 });
  server.emit(EVENT.reboot, { callbackId: 1, dom: DOM });
  server.emit(EVENT.agentLifecycle, { callbackId: 1, dom: DOM, state: 2, reason: 2 });
  await vi.waitFor(() => expect(heard).toHaveLength(3), 5_000);
  expect(heard).toEqual([
    { type: 'agent', uuid: WEB, connected: true },
    { type: 'reset', uuid: WEB },
    { type: 'agent', uuid: WEB, connected: false },
  ]);
});

it('does not start a saved domain whose file is damaged, since libvirt would boot it afresh', async () => {
  server.domains.set(WEB, { uuid: WEB, name: 'web', state: STOPPED, reason: 5, metadata: '<vm/>' });
  server.saved.add(WEB);
  server.on(PROC.managedSaveXml, refuse(9, 'image magic is incorrect'));
  let started = 0;
  server.on(PROC.create, ({ dom }) => (started++, { dom }));
  await hypervisor.list();
  await expect(hypervisor.start(WEB)).rejects.toThrow(/image magic is incorrect/);
  expect(started).toBe(0);
  server.on(PROC.removeManagedSave, () => {
    throw new Refusal(38, 'No such file or directory', 2); // somebody removed it by hand
  });
  await hypervisor.discardSaved(WEB);
  await hypervisor.start(WEB);
  expect(started).toBe(1);
});

it('tells how much of a guest is saved', async () => {
  let done: () => void = () => undefined;
  server.on(PROC.managedSave, () => new Promise<void>((resolve) => (done = resolve)));
  server.on(PROC.jobStats, () => ({ type: 2, params: [long('memory_total', 100n), long('memory_processed', 40n)] }));
  const progress: number[][] = [];
  await hypervisor.list();
  const saving = hypervisor.save(WEB, new AbortController().signal, (...p) => progress.push(p));
  await vi.waitFor(() => expect(progress).toContainEqual([40, 100]), 10_000);
  done();
  await saving;
});
