import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { displayTarget, openDisplay } from './display.ts';

const xml = (graphics: string): string => `<domain><name>web</name><devices>${graphics}</devices></domain>`;

describe('the display of a guest', () => {
  it.each([
    [
      `<graphics type='vnc' socket='/run/v.sock'><listen type='socket' socket='/run/v.sock'/></graphics>`,
      { path: '/run/v.sock' },
    ],
    [`<graphics type='vnc'><listen type='socket' socket='/run/v.sock'/></graphics>`, { path: '/run/v.sock' }],
    [
      `<graphics type='vnc' port='5901' listen='0.0.0.0'><listen type='address' address='0.0.0.0'/></graphics>`,
      { port: 5901, host: '127.0.0.1' },
    ],
    [`<graphics type='vnc' port='5901' listen='::'/>`, { port: 5901, host: '::1' }],
    [
      `<graphics type='vnc' port='5901'><listen type='network' address='10.0.0.7'/></graphics>`,
      { port: 5901, host: '10.0.0.7' },
    ],
    [`<graphics type='spice' port='5902'/><graphics type='vnc' port='5903'/>`, { port: 5903, host: '127.0.0.1' }],
    [`<graphics type='vnc' port='-1' autoport='yes'/>`, undefined],
    [`<graphics type='spice'><listen type='none'/></graphics>`, undefined],
    ['', undefined],
  ])('is found: %s', (graphics, target) => {
    expect(displayTarget(xml(graphics), 'vnc')).toEqual(target);
  });

  it('is found by its kind', () => {
    const both = xml(`<graphics type='vnc' port='5903'/><graphics type='spice' socket='/s'/>`);
    expect(displayTarget(both, 'spice')).toEqual({ path: '/s' });
  });
});

describe('a connection to it', () => {
  let server: Server | undefined;
  const dir = mkdtempSync(join(tmpdir(), 'berth-display-'));
  const socket = join(dir, 'vnc.sock');
  const at = xml(`<graphics type='vnc' socket='${socket}'/>`);
  afterEach(async () => {
    await new Promise((done) => (server ? server.close(done) : done(undefined)));
    server = undefined;
    rmSync(socket, { force: true });
  });

  it('is open when it is given', async () => {
    server = createServer((c) => void c.end('RFB 003.008\n')).listen(socket);
    await new Promise((listening) => server?.once('listening', listening));
    let heard = '';
    for await (const data of await openDisplay('web', at, 'vnc', systemClock)) heard += String(data);
    expect(heard).toBe('RFB 003.008\n');
  });

  it('is refused in words, with the way out', async () => {
    await expect(openDisplay('web', at, 'spice', systemClock)).rejects.toMatchObject({
      reason: 'BAD_STATE',
      message: expect.stringMatching(/vm web runs without a SPICE display.*berth vm stop web/),
    });
    await expect(openDisplay('web', at, 'vnc', systemClock)).rejects.toMatchObject({
      reason: 'HYPERVISOR_UNAVAILABLE',
      message: expect.stringMatching(/the VNC display of vm web does not take a connection/),
    });
  });
});
