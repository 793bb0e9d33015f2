/** `npm run quickstart` as a person runs it: hosts in containers with libvirt and QEMU, guests that boot from their own disks. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { docker } from '@berth/deploy/lab/engine.ts';
import { findLab, listLabs } from '@berth/deploy/lab/lab.ts';
import { Checkout } from '../harness/checkout.ts';
import { eventually } from '../harness/processes.ts';
import { describeWhereLabsRun, ownLabel, removeLeftovers } from '../harness/lab.ts';

interface Vm {
  readonly name: string;
  readonly state: string;
  readonly host: string;
}

describeWhereLabsRun('the quickstart with real hosts', () => {
  const name = ownLabel();
  let checkout: Checkout;
  const quickstart = (...args: string[]) => checkout.quickstart('--name', name, ...args);
  const label = async () => (await listLabs()).find((l) => l.startsWith(`quickstart-${name}-`)) ?? 'none';
  const networks = async () => (await (await docker()).listNetworks()).map((n) => n.Name);
  const vms = async () => JSON.parse((await checkout.berth('vm', 'list', '-o', 'json')).out) as Vm[];

  beforeAll(async () => {
    await removeLeftovers();
    checkout = await Checkout.make('myself');
  });
  afterAll(async () => {
    await quickstart('--down');
    checkout.remove();
  });

  it('goes from nothing to two guests on different hosts that have booted from their own disks', async () => {
    const { code, out, err } = await quickstart();
    expect({ code, err }, out).toEqual({ code: 0, err: '' });
    for (const phase of ['containers', 'controller', 'hosts h1 h2 h3', 'image base', 'vm web', 'vm db', 'guests'])
      expect(out).toMatch(new RegExp(`^ ✔ ${phase} .* \\d.* (ms|s)$`, 'm'));
    for (const vm of ['web', 'db']) {
      expect(out).toMatch(new RegExp(`^${vm} says: "${vm} .*"$`, 'm'));
      // it says so right after its name, which is what was waited for
      await eventually('its disk is its own', async () =>
        /disk \d+ boots 1\b/.test((await checkout.berth('vm', 'log', vm)).out),
      );
    }
    const [db, web] = await vms();
    expect([web?.name, web?.state, db?.name, db?.state]).toEqual(['web', 'running', 'db', 'running']);
    expect(web?.host).not.toBe(db?.host);
    const lab = await findLab(await label());
    expect(await lab?.host(web?.host ?? '').virsh(['list', '--name'])).toContain('web');
  });

  it('is at a running pair again within a minute, also when a host had been switched off', async () => {
    const [db] = await vms();
    await (await findLab(await label()))?.host(db?.host ?? '').crash();
    const { code, out, err } = await quickstart();
    expect({ code, err }, out).toEqual({ code: 0, err: '' });
    expect(out).toContain('1 of the 3 hosts are off');
    expect((await vms()).map((v) => v.state)).toEqual(['running', 'running']);
  });

  it('leaves no container, network, process or file after --down', async () => {
    const network = `berth-${await label()}`;
    expect(await networks()).toContain(network);
    expect((await quickstart('--down')).out).toContain('removed; nothing is left');
    expect(await label()).toBe('none');
    expect(await networks()).not.toContain(network);
    expect(existsSync(join(checkout.root, `.quickstart-${name}`))).toBe(false);
    expect(existsSync(join(checkout.home, '.config', 'berth'))).toBe(false);
  });
});
