/**
 * Ending trust and changing it, with real processes: revocation on open streams, a host that is enrolled again, and a
 * rotation of the CAs with kills in its middle.
 */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { eventually, PROGRAMS, run } from '../harness/processes.ts';

interface Cert {
  readonly serial: string;
  readonly purpose: string;
  readonly subject: string;
  readonly state: string;
  readonly issuerPin: string;
  readonly reason: string;
}

let c: Cluster;
beforeAll(async () => {
  c = await Cluster.start();
  for (const name of ['h1', 'h2', 'h3']) await c.addSimulated(name);
  await c.waitUp('h1', 'h2', 'h3');
}, 120_000);
afterAll(() => c?.stop());

const certificates = (...flags: readonly string[]) => c.json<Cert[]>('cert', 'list', ...flags);

async function serialOf(subject: string, purpose: string): Promise<string> {
  const found = (await certificates()).find(
    (x) => x.subject === subject && x.purpose === purpose && x.state === 'active',
  );
  if (!found) throw new Error(`no active ${purpose} certificate of ${subject}`);
  return found.serial;
}

async function reEnroll(name: string): Promise<void> {
  const token = await c.ok('host', 're-enroll', name);
  const config = join(c.dir, name, 'agent.yaml');
  const enrolled = await run(PROGRAMS.agent, ['enroll', '--config', config], { input: token });
  expect(enrolled).toMatchObject({ code: 0 });
}

describe('certificates', () => {
  it('are listed with whose they are, what for, and until when', async () => {
    const all = await certificates();
    expect(all.map((x) => [x.subject, x.purpose, x.state])).toEqual([
      ['controller', 'control-ca', 'active'],
      ['controller', 'transfer-ca', 'active'],
      ['controller', 'controller', 'active'],
      ['admin', 'client', 'active'],
      ...['h1', 'h2', 'h3'].flatMap((h) => [
        [h, 'control', 'active'],
        [h, 'transfer', 'active'],
      ]),
    ]);
    expect(await c.ok('cert', 'list')).toMatch(/h1 +control +active +in 364 d +in 243 d/);
    expect((await c.ok('cert', 'list', '-o', 'name')).split('\n')).toHaveLength(all.length);
  });

  it('that are revoked end the open connection within seconds; the host is enrolled again and is what it was', async () => {
    const { id } = await c.json<{ id: string }>('host', 'show', 'h1');
    const serial = await serialOf('h1', 'control');
    const said = await c.berth('cert', 'revoke', serial.slice(0, 12));
    expect(said.err).toMatch(/berth host re-enroll h1/);
    await eventually('h1 is refused', async () => (await c.hostState('h1')) === 'certificate-fault');
    expect(await c.ok('host', 'list')).toMatch(/h1 .*certificate-fault .*revoked.*berth host re-enroll/);
    // it stays so, also after a restart of the controller
    await c.controller.restart();
    await eventually('h1 is still refused', async () => (await c.hostState('h1')) === 'certificate-fault', 30_000);
    await reEnroll('h1');
    await c.waitUp('h1');
    const again = await c.json<{ id: string }>('host', 'show', 'h1');
    expect(again.id).toBe(id);
    expect((await certificates()).find((x) => x.serial === serial)).toMatchObject({ state: 'revoked' });
  });

  it('of a removed host are revoked', async () => {
    await c.addSimulated('gone');
    await c.waitUp('gone');
    const serial = await serialOf('gone', 'transfer');
    await c.ok('host', 'remove', 'gone');
    expect((await certificates()).find((x) => x.serial === serial)).toMatchObject({ state: 'revoked' });
    await c.agents.get('gone')?.end('SIGKILL');
  });

  it("that are for transfers, or the controller's own, are replaced at once when they are revoked", async () => {
    const before = [await serialOf('h2', 'transfer'), await serialOf('controller', 'controller')];
    await c.ok('cert', 'revoke', ...before);
    await eventually('both are replaced', async () => {
      const now = [await serialOf('h2', 'transfer'), await serialOf('controller', 'controller')];
      return now[0] !== before[0] && now[1] !== before[1];
    });
    await c.waitUp('h1', 'h2', 'h3');
  });

  it.each([
    [['00ff00ff00ff'], 3, /no certificate has the serial/],
    [['nobody'], 3, /no host/],
  ])('are not revoked by mistake: %j', async (names, code, words) => {
    const r = await c.berth('cert', 'revoke', ...names);
    expect([r.code, r.err]).toEqual([code, expect.stringMatching(words)]);
  });

  it('come from a CA, which is replaced and not revoked', async () => {
    const ca = (await certificates()).find((x) => x.purpose === 'control-ca');
    const r = await c.berth('cert', 'revoke', ca?.serial ?? '');
    expect([r.code, r.err]).toEqual([4, expect.stringMatching(/berth cert rotate-ca/)]);
  });
});

describe('a rotation of the CAs', () => {
  it('survives kills, reaches every host, and the command line follows', { timeout: 300_000 }, async () => {
    const before = await certificates();
    const old = before.filter((x) => x.purpose.endsWith('-ca')).map((x) => x.serial);
    const idle = join(c.dir, 'idle.yaml');
    copyFileSync(c.configFile, idle);
    // while one is away, nobody is cut off
    await c.agents.get('h3')?.end('SIGKILL');
    const job = (await c.ok('cert', 'rotate-ca', '--overlap', '5s')).trim();
    const wait = async () => (await c.json<{ waitReason: string }>('job', 'show', job)).waitReason;
    await eventually('it waits for h3', async () => /new CA: h3$/.test(await wait()));
    expect((await c.berth('cert', 'rotate-ca')).err).toMatch(/busy/);
    await c.controller.restart();
    await c.waitUp('h1', 'h2');
    c.agents.get('h3')?.start();
    await c.waitUp('h3');
    await c.controller.restart();
    const state = async () => (await c.json<{ state: string }>('job', 'show', job)).state;
    await eventually('it is done', async () => (await state()) === 'succeeded', 120_000);
    const after = await certificates();
    expect(after.filter((x) => x.purpose.endsWith('-ca')).map((x) => x.serial)).not.toEqual(old);
    expect(after.filter((x) => old.includes(x.serial))).toEqual([]);
    const [ca] = after;
    for (const h of ['h1', 'h2', 'h3'])
      expect(after.find((x) => x.subject === h && x.purpose === 'control' && x.state === 'active')?.issuerPin).toBe(
        ca?.issuerPin,
      );
    await c.waitUp('h1', 'h2', 'h3');
    for (const h of ['h1', 'h2', 'h3']) await c.agents.get(h)?.restart();
    await c.waitUp('h1', 'h2', 'h3');
    // a command line that slept through it is told why, and what to do
    const r = await c.berthWith({ env: { BERTH_CONFIG: idle } }, 'host', 'list');
    expect([r.code, r.err]).toEqual([5, expect.stringMatching(/CAs were replaced since, log in again/)]);
  });

  it('leaves a host behind that stays away, by name; it is enrolled again', { timeout: 300_000 }, async () => {
    await c.agents.get('h3')?.end('SIGKILL');
    const job = (await c.ok('cert', 'rotate-ca', '--overlap', '1s')).trim();
    const show = () => c.json<{ state: string; waitReason: string }>('job', 'show', job);
    await eventually('it waits for h3', async () => (await show()).waitReason.includes('h3'));
    await c.ok('cert', 'rotate-ca', '--leave-behind');
    await eventually('it is done', async () => (await show()).state === 'succeeded', 60_000);
    expect(await c.ok('event', 'list', '--subject', 'ca')).toMatch(/left behind.*h3/);
    c.agents.get('h3')?.start();
    await eventually('h3 is a certificate fault', async () => (await c.hostState('h3')) === 'certificate-fault');
    await reEnroll('h3');
    await c.waitUp('h1', 'h2', 'h3');
  });

  it('can be cancelled while nothing was signed with the new CAs', async () => {
    await c.agents.get('h3')?.end('SIGKILL');
    const before = (await certificates()).filter((x) => x.purpose.endsWith('-ca')).map((x) => x.serial);
    const job = (await c.ok('cert', 'rotate-ca')).trim();
    const show = () => c.json<{ state: string; waitReason: string }>('job', 'show', job);
    await eventually('it waits for h3', async () => (await show()).waitReason.includes('h3'));
    expect((await certificates()).filter((x) => x.state === 'next')).toHaveLength(2);
    await c.ok('job', 'cancel', job);
    await eventually('it has ended', async () => (await show()).state === 'cancelled');
    expect((await certificates()).filter((x) => x.purpose.endsWith('-ca')).map((x) => x.serial)).toEqual(before);
    c.agents.get('h3')?.start();
    await c.waitUp('h1', 'h2', 'h3');
  });
});
