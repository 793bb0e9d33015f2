import { Duplex } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { systemClock, type Clock } from '@berth/shared/runtime/clock.ts';
import type { DomainPower, DomainSeen } from '../drivers/hypervisor.ts';
import { Consoles, type ConsoleRequest } from './consoles.ts';
import type { SerialOutput, SerialSession } from './serial-session.ts';

const UUID = '11111111-2222-4333-8444-555555555555';
const REQUEST: ConsoleRequest = { uuid: UUID, vmId: 'vm-1', force: false, session: 's1', from: undefined };
const EVENTUALLY = { timeout: 20_000, interval: 10 };

/** Ten times as fast, and it can be put forward, so that nobody waits for what takes seconds. */
let skippedMs = 0;
const fast: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * 10 + skippedMs,
  sleep: (ms, signal) => systemClock.sleep(ms / 10, signal),
};
const skip = (ms: number) => (skippedMs += ms);

class Port extends Duplex {
  typed = '';
  override _read(): void {}
  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.typed += chunk.toString();
    done();
  }
}

/** A host with one guest: its log, its port, and a libvirt that may be away. */
class Guest {
  log = '';
  power: DomainPower = 'running';
  away = false;
  /** Its definition has no log, or the disk is full. */
  logs = true;
  port: Port | undefined;
  readonly consoles = new Consoles({
    domains: {
      need: async () => this.look(),
      find: async () => this.look(),
    },
    hypervisor: { openConsole: async (_uuid, force) => this.open(force) },
    disks: {
      readSerialLog: async (_vm, from, most) => {
        const all = Buffer.from(this.log);
        const begin = 'position' in from ? Number(from.position) : Math.max(0, all.length - from.lastBytes);
        const data = all.subarray(begin, begin + most);
        return { data, position: String(begin + data.length), gap: false };
      },
    },
    clock: fast,
  });

  print(text: string): void {
    if (this.logs) this.log += text;
    this.port?.push(text);
  }

  libvirtGoes(): void {
    this.away = true;
    this.port?.destroy(gone());
    this.port = undefined;
  }

  private look(): DomainSeen {
    if (this.away) throw gone();
    const { power } = this;
    return { ...{ uuid: UUID, name: 'web', power, reason: 'none', persistent: true }, ...REST };
  }

  private open(force: boolean): Duplex {
    if (this.away) throw gone();
    if (this.power !== 'running') throw badState('domain is not running');
    if (this.port && !this.port.destroyed && !force) throw new ClusterError('RESOURCE_BUSY', 'the console is in use');
    this.port?.push(null);
    return (this.port = new Port());
  }
}
const REST = { metadataXml: undefined, memoryBytes: 1, vcpus: 1 };
const gone = () => new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt went away');

/** Somebody who watches. */
class Person {
  text = '';
  position = '';
  readonly notices: string[] = [];
  ended = '';
  readonly over: Promise<unknown>;
  readonly gone = new AbortController();

  constructor(readonly session: SerialSession) {
    this.over = this.watch().catch((e: unknown) => e);
  }

  private async watch(): Promise<void> {
    for await (const out of this.session.output(this.gone.signal)) this.note(out);
  }

  private note(out: SerialOutput): void {
    this.text += Buffer.from(out.data).toString();
    this.position = out.position;
    if (out.notice) this.notices.push(out.notice);
    this.ended = out.ended;
  }
}
const attach = async (g: Guest, over: Partial<ConsoleRequest> = {}) =>
  new Person(await g.consoles.attach({ ...REQUEST, ...over }));

describe('a serial console', () => {
  it('begins with what is printed from then on, and types', async () => {
    const g = new Guest();
    g.print('long ago');
    const me = await attach(g);
    g.print('now');
    await me.session.type(Buffer.from('ls\n'));
    await vi.waitFor(() => expect(me.text).toBe('now'), EVENTUALLY);
    expect(g.port?.typed).toBe('ls\n');
  });

  it('goes on while libvirt is away: nothing printed is lost or shown twice, and what is typed waits', async () => {
    const g = new Guest();
    const me = await attach(g);
    g.print('one ');
    g.libvirtGoes();
    g.print('two ');
    await vi.waitFor(() => expect([me.text, me.notices.length]).toEqual(['one two ', 1]), EVENTUALLY);
    const typing = me.session.type(Buffer.from('held'));
    g.away = false;
    await typing;
    g.print('three');
    await vi.waitFor(() => expect(me.text).toBe('one two three'), EVENTUALLY);
    expect(g.port?.typed).toBe('held');
    expect(me.notices[1]).toBe('libvirt is back');
  });

  it('goes on at a position, with what was printed since', async () => {
    const g = new Guest();
    const me = await attach(g);
    g.print('seen ');
    await vi.waitFor(() => expect(me.text).toBe('seen '), EVENTUALLY);
    me.gone.abort(new Error('the connection broke'));
    await me.over;
    g.port = undefined;
    g.print('missed ');
    const again = await attach(g, { from: me.position });
    g.print('live');
    await vi.waitFor(() => expect(again.text).toBe('missed live'), EVENTUALLY);
  });

  it('is taken over by who has it already, under the same session, and not by others', async () => {
    const g = new Guest();
    const me = await attach(g);
    await expect(attach(g, { session: 's2' })).rejects.toMatchObject({ reason: 'RESOURCE_BUSY' });
    await expect(attach(g, { session: '' })).rejects.toMatchObject({ reason: 'RESOURCE_BUSY' });
    const again = await attach(g, { from: me.position });
    g.print('x');
    await vi.waitFor(() => expect(again.text).toBe('x'), EVENTUALLY);
    await me.over;
    await vi.waitFor(() => expect(g.port?.destroyed).toBe(false), EVENTUALLY);
  });

  it('taken over by force ends for who had it, who does not take it back', async () => {
    const g = new Guest();
    const me = await attach(g);
    const other = await attach(g, { session: 's2', force: true });
    expect(await me.over).toMatchObject({ reason: 'RESOURCE_BUSY', meta: { taken: 'over' } });
    g.print('x');
    await vi.waitFor(() => expect(other.text).toBe('x'), EVENTUALLY);
  });

  it('taken over on the host ends, too', async () => {
    const g = new Guest();
    const me = await attach(g);
    const [mine, theirs] = [g.port, new Port()];
    g.port = theirs;
    mine?.push(null);
    expect(await me.over).toMatchObject({ reason: 'RESOURCE_BUSY', meta: { taken: 'over' } });
  });

  it('shows the last words of a guest that stops, and says why it is over', async () => {
    const g = new Guest();
    const me = await attach(g);
    g.power = 'stopped';
    g.port?.push(null);
    g.log += 'reboot: Power down';
    expect(await me.over).toBeUndefined();
    expect([me.text, me.ended]).toEqual(['reboot: Power down', 'it is stopped']);
    await expect(attach(g)).rejects.toMatchObject({ reason: 'BAD_STATE' });
  });

  it('is shown from the port when nothing is logged, and says that it is', async () => {
    const g = new Guest();
    g.log = 'of another day';
    g.logs = false;
    const me = await attach(g);
    await vi.waitFor(() => {
      g.print('a');
      expect(me.notices[0]).toMatch(/keeps no log/);
    }, EVENTUALLY);
    g.print('bcd');
    await vi.waitFor(() => expect(me.text).toMatch(/^a+bcd$/), EVENTUALLY);
    expect(me.position).toBe('');
  });

  it('shows what is logged once, however late the port brings it', async () => {
    const g = new Guest();
    const me = await attach(g);
    skip(3_000); // what comes through the port is new by then
    g.log += 'login: ';
    await vi.waitFor(() => expect(me.text).toBe('login: '), EVENTUALLY);
    g.port?.push('login: ');
    skip(4_000);
    g.print('root\n');
    await vi.waitFor(() => expect(me.text).toBe('login: root\n'), EVENTUALLY);
    skip(10_000);
    g.log += 'Password: ';
    await vi.waitFor(() => expect(me.text).toBe('login: root\nPassword: '), EVENTUALLY);
    expect(me.notices).toEqual([]);
  });

  it('leaves nothing open when its caller goes', async () => {
    const g = new Guest();
    const me = await attach(g);
    me.gone.abort(new Error('gone'));
    await me.over;
    g.consoles.detach(UUID, me.session);
    expect(g.port?.destroyed).toBe(true);
    await attach(g, { session: 's2' });
  });
});
