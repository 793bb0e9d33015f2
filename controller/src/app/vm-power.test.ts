/** Reboot, reset, suspend and resume as people ask for them: what is done, what is left alone, what is refused and why. */
import { beforeEach, describe, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import type { VmAnswer } from './vm-deps.ts';

type Verb = 'reboot' | 'reset' | 'suspend' | 'resume';

let c: AppCluster;
beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  await c.done(c.clone('web', { host: 'h1' }));
});
const vm = () => c.life.vms.get('web');
const domain = () => c.sim.hosts.host(c.hostId('h1')).domains.get(c.life.state.tables.vms.byName('web')!.uuid);
const ask = (verb: Verb) =>
  verb === 'reboot' ? c.life.vms.reboot('web', { timeoutMs: 0 }, 'ann') : c.life.vms[verb]('web', 'ann');
const act = (verb: Verb) => c.done(ask(verb));
const start = () => c.done(c.life.vms.start('web', 'ann'));
const line = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason: string; message: string };
  return `${e.reason} ${e.message}`;
};
const failed = async (answer: Promise<VmAnswer>): Promise<string> => {
  const { jobId } = await c.timed(answer);
  expect(await c.ended(jobId)).toBe('failed');
  return (await c.life.jobs.view(jobId!)).error?.message ?? '';
};
const stop = { force: false, timeoutMs: 0, thenForce: false };

it('suspends a VM, which is shown as paused with the way out, and lets it go on', async () => {
  await start();
  expect(await act('suspend')).toBe('succeeded');
  expect(domain()?.power).toBe('paused');
  expect(await vm()).toMatchObject({ state: 'paused', vm: { desiredPower: 'on' } });
  expect(await act('suspend')).toBe('no job');
  expect(c.life.state.tables.claims.get(c.life.state.tables.vms.byName('web')!.id)?.powered).toBe(true);
  expect(await act('resume')).toBe('succeeded');
  expect((await vm()).state).toBe('running');
  expect(await act('resume')).toBe('no job');
});

describe('a reboot', () => {
  beforeEach(start);
  const host = () => c.sim.hosts.host(c.hostId('h1'));

  it('is done when its host has seen the guest reset, and not before', async () => {
    expect(await act('reboot')).toBe('succeeded');
    expect(host().resets.get(domain()!.wanted.uuid)).toBe(1);
    expect(await act('reboot')).toBe('succeeded');
    expect(host().resets.get(domain()!.wanted.uuid)).toBe(2);
  });

  it('that the guest does not hear fails in time with the way out, or ends with its reset button, as was chosen', async () => {
    host().deaf = true;
    expect(await failed(c.life.vms.reboot('web', { timeoutMs: 5_000 }, 'ann'))).toMatch(
      /vm web did not reboot within 5 s: .*berth vm reset web/,
    );
    expect(host().resets.size).toBe(0);
    const chosen = { timeoutMs: 5_000, then: 'reset' };
    expect(await c.done(c.life.vms.reboot('web', chosen, 'ann'))).toBe('succeeded');
    expect(host().resets.get(domain()!.wanted.uuid)).toBe(1);
  });

  it('of a guest that goes off instead says so', async () => {
    host().deaf = true;
    const answer = c.life.vms.reboot('web', { timeoutMs: 600_000 }, 'ann').then((a) => {
      host().power(domain()!.wanted.uuid, 'stopped');
      return a;
    });
    expect(await failed(answer)).toMatch(/vm web stopped instead of booting again/);
  });

  it('takes only what it knows', async () => {
    expect(await line(c.life.vms.reboot('web', { timeoutMs: 0, mode: 'magic' }, 'ann'))).toMatch(/^INVALID_ARGUMENT/);
    expect(await line(c.life.vms.reboot('web', { timeoutMs: 0, then: 'force' }, 'ann'))).toMatch(/fail, reset/);
    expect(await line(c.life.vms.stop('web', { ...stop, then: 'reset' }, 'ann'))).toMatch(/fail, force, save/);
    expect(await line(c.life.vms.stop('web', { ...stop, thenForce: true, then: 'save' }, 'ann'))).toMatch(/contradict/);
  });
});

it('saves a guest that does not shut down in time, when that is chosen', async () => {
  await start();
  c.sim.hosts.host(c.hostId('h1')).deaf = true;
  expect(await c.done(c.life.vms.stop('web', { ...stop, timeoutMs: 5_000, then: 'save' }, 'ann'))).toBe('succeeded');
  expect((await vm()).state).toBe('saved');
});

it.each(['reboot', 'reset'] as const)('%s leaves it running, and says so in an event', async (verb) => {
  await start();
  expect(await act(verb)).toBe('succeeded');
  expect((await vm()).state).toBe('running');
  const said = c.life.state.tables.vms.byName('web')!.desiredPower;
  expect(said).toBe('on');
});

describe('what a state forbids is refused in one line with the way out', () => {
  it.each([
    ['reboot', 'BAD_STATE vm web is stopped on h1. Start it first (berth vm start web).'],
    ['reset', 'BAD_STATE vm web is stopped on h1. Start it first (berth vm start web).'],
    ['suspend', 'BAD_STATE vm web is stopped on h1. Start it first (berth vm start web).'],
    ['resume', 'BAD_STATE vm web is stopped on h1. Start it first (berth vm start web).'],
  ] as const)('%s of a stopped one', async (verb, words) => {
    expect(await line(ask(verb))).toBe(words);
  });

  it('start, stop and reboot of a suspended one; by force it stops', async () => {
    await start();
    await act('suspend');
    expect(await line(c.life.vms.start('web', 'ann'))).toBe(
      'BAD_STATE vm web is paused on h1. Let it go on instead (berth vm resume web).',
    );
    expect(await line(c.life.vms.stop('web', stop, 'ann'))).toBe(
      'BAD_STATE vm web is paused on h1. Its guest hears no power button: resume it first (berth vm resume web), or use --force.',
    );
    expect(await line(ask('reboot'))).toMatch(/^BAD_STATE vm web is paused .*or reset it\.$/);
    expect(await c.done(c.life.vms.stop('web', { ...stop, force: true }, 'ann'))).toBe('succeeded');
    expect((await vm()).state).toBe('stopped');
  });

  it('of one whose host is away', async () => {
    await start();
    c.sim.hosts.cut(c.hostId('h1'));
    expect(await line(c.life.vms.suspend('web', 'ann'))).toMatch(/^HOST_UNREACHABLE vm web is unknown on h1/);
  });
});

describe('a saved VM', () => {
  const save = () => c.done(c.life.vms.save('web', 'ann'));
  const claim = () => c.life.state.tables.claims.get(c.life.state.tables.vms.byName('web')!.id);
  beforeEach(async () => {
    await start();
    expect(await save()).toBe('succeeded');
  });

  it('takes no room, shall be off, and is shown as saved with the way out', async () => {
    expect(await vm()).toMatchObject({
      state: 'saved',
      reason: 'its memory is in a file on h1: go on with berth vm start web',
      vm: { desiredPower: 'off' },
    });
    expect(claim()?.powered).toBe(false);
    expect(await save()).toBe('no job');
    const stopped = await line(c.life.vms.stop('web', { ...stop, force: true }, 'ann'));
    expect(stopped).toMatch(/^BAD_STATE vm web is saved on h1\. It takes nothing but disk: .* --discard-saved\.$/);
  });

  it('goes on when it is started, or boots afresh when that is asked for', async () => {
    expect(await start()).toBe('succeeded');
    expect(await vm()).toMatchObject({ state: 'running', vm: { desiredPower: 'on' } });
    expect(claim()?.powered).toBe(true);
    await save();
    expect(await c.done(c.life.vms.start('web', 'ann', { discardSaved: true }))).toBe('succeeded');
    expect(domain()).toMatchObject({ power: 'running' });
  });

  it('can be deleted', async () => {
    expect(await c.done(c.life.vms.delete('web', { force: false }, 'ann'))).toBe('succeeded');
  });
});

describe('keys and NMIs', () => {
  it('reach a guest that runs, leave an event without the keys, and no job', async () => {
    await start();
    const jobs = c.life.state.tables.jobs.size;
    await c.timed(c.life.vms.sendKeys('web', ['ctrl-alt-delete', 'KEY_A', 'a']));
    await c.timed(c.life.vms.injectNmi('web'));
    expect(c.sim.hosts.host(c.hostId('h1')).typed).toEqual(['29-56-111', '30', '30']);
    expect(c.life.state.tables.jobs.size).toBe(jobs);
    const said = (await c.life.state.events({ limit: 2 })).map((e) => [e.type, e.message]);
    expect(said).toEqual([
      ['vm.sendKeys', 'vm web got keys'],
      ['vm.nmi', 'vm web got an NMI'],
    ]);
  });

  it('are refused for one that is off or suspended, and when they are none', async () => {
    expect(await line(c.life.vms.sendKeys('web', ['a']))).toMatch(/^BAD_STATE vm web is stopped .*vm start web/);
    await start();
    expect(await line(c.life.vms.sendKeys('web', ['boom']))).toMatch(/^INVALID_ARGUMENT "boom" is no key/);
    expect(await line(c.life.vms.sendKeys('web', []))).toMatch(/^INVALID_ARGUMENT 1 to 64 keys/);
    expect(await line(c.life.vms.sendKeys('web', Array(65).fill('a')))).toMatch(/^INVALID_ARGUMENT 1 to 64 keys/);
    await act('suspend');
    expect(await line(c.life.vms.injectNmi('web'))).toMatch(/^BAD_STATE vm web is paused .*berth vm resume web/);
    expect(c.sim.hosts.host(c.hostId('h1')).typed).toEqual([]);
  });
});

it('on a host whose agent is too old, it says which one to upgrade, and does nothing', async () => {
  await start();
  const { hosts } = c.sim;
  const status = hosts.status.bind(hosts);
  hosts.status = (id) => {
    const s = status(id);
    return { ...s, facts: s.facts && { ...s.facts, capabilities: ['console'], agentVersion: '0.1.0' } };
  };
  for (const verb of ['reboot', 'reset', 'suspend'] as const)
    expect(await line(ask(verb))).toBe(
      'UNSUPPORTED the agent 0.1.0 of host h1 cannot reboot, reset, suspend or resume a vm (it lacks domain.power): upgrade it, then try again',
    );
  expect(await line(c.life.vms.injectNmi('web'))).toMatch(
    /h1 cannot send keys or an NMI to a vm \(it lacks domain.input\)/,
  );
  expect(() => c.life.vms.locate('web', 'screenshot')).toThrow(/h1 cannot take a picture of a screen/);
  expect(domain()?.power).toBe('running');
});
