import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import type { DomainSeen } from '../drivers/hypervisor.ts';
import { LARGEST_PICTURE_BYTES, Screenshots } from './screenshot.ts';

const ref = { uuid: 'u', vmId: 'vm-1' };
const seen = (power: string) => ({ name: 'web', power }) as DomainSeen;
const shots = (picture: () => Readable, power = 'running') =>
  new Screenshots({ domains: { need: async () => seen(power) }, hypervisor: { screenshot: async () => picture() } });
const never = new AbortController().signal;

it('gives the whole picture, however it comes', async () => {
  const png = await shots(() => Readable.from([Buffer.from('P6 1 '), Buffer.from('1 255\n'), Buffer.alloc(3)])).take(
    ref,
    never,
  );
  expect(png.toString('latin1', 1, 4)).toBe('PNG');
});

it('ends one that never ends, and closes its stream', async () => {
  const mib = Buffer.alloc(2 ** 20);
  let sent = 0;
  const endless = new Readable({
    read() {
      sent += mib.length;
      this.push(mib);
    },
  });
  await expect(shots(() => endless).take(ref, never)).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
  expect(endless.destroyed).toBe(true);
  expect(sent).toBeLessThan(2 * LARGEST_PICTURE_BYTES);
});

it('has none of a guest that is off', async () => {
  await expect(shots(() => Readable.from([]), 'stopped').take(ref, never)).rejects.toMatchObject({
    reason: 'BAD_STATE',
    message: 'vm web is stopped: it shows nothing',
  });
});

it('gives up when nobody waits any more, and lets the next one take its turn', async () => {
  const gone = new AbortController();
  const silent = new Readable({ read: () => gone.abort() });
  const s = shots(() => silent);
  await expect(s.take(ref, gone.signal)).rejects.toThrow();
  expect(silent.destroyed).toBe(true);
  await expect(s.take(ref, gone.signal)).rejects.toThrow();
});
