import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { connectQmp, QmpError, QmpGone, type Qmp } from './qmp.ts';

describe('a monitor client', () => {
  let dir: string;
  let server: Server;
  let client: Qmp | undefined;
  beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'berth-qmp-'))));
  afterEach(async () => {
    client?.close();
    client = undefined;
    await new Promise((resolve) => server.close(resolve));
    await rm(dir, { recursive: true, force: true });
  });

  /** @param answer gets each command and the socket. */
  async function monitor(
    answer: (command: string, socket: Socket) => void,
    greeting = '{"QMP":{}}\r\n',
  ): Promise<string> {
    const path = join(dir, 'm');
    server = createServer((socket) => {
      socket.on('error', () => socket.destroy()).write(greeting);
      socket.setEncoding('utf8').on('data', (text: string) => {
        for (const line of text.trim().split('\n')) answer((JSON.parse(line) as { execute: string }).execute, socket);
      });
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return path;
  }
  const ok = (socket: Socket, value: unknown = {}): unknown => socket.write(`${JSON.stringify({ return: value })}\r\n`);

  it('answers commands in order, whatever events and pieces come between', async () => {
    const path = await monitor((command, socket) => {
      socket.write('{"event":"JOB_STATUS_CHANGE","data":{}}\r\n{"ret');
      socket.write(`urn":"${command}"}\r\n`);
    });
    client = await connectQmp(path, systemClock, 2_000);
    expect(await Promise.all([client.execute('a'), client.execute('b')])).toEqual(['a', 'b']);
  });

  it('tells a refusal from a helper that is gone', async () => {
    const path = await monitor((command, socket) => {
      if (command === 'no') socket.write('{"error":{"class":"GenericError","desc":"not now"}}\r\n');
      else if (command === 'die') socket.destroy();
      else ok(socket);
    });
    client = await connectQmp(path, systemClock, 2_000);
    await expect(client.execute('no')).rejects.toEqual(new QmpError('not now'));
    await expect(client.execute('die')).rejects.toBeInstanceOf(QmpGone);
    await expect(client.execute('more')).rejects.toBeInstanceOf(QmpGone);
  });

  it('gives up on a monitor that says nothing, is not there, or talks nonsense', async () => {
    const silent = await monitor(() => undefined);
    await expect(connectQmp(silent, systemClock, 50)).rejects.toBeInstanceOf(QmpGone);
    await expect(connectQmp(join(dir, 'nobody'), systemClock, 2_000)).rejects.toBeInstanceOf(QmpGone);
    await new Promise((resolve) => server.close(resolve));
    await rm(join(dir, 'm'), { force: true });
    const nonsense = await monitor(() => undefined, 'HTTP/1.1 400\r\n');
    await expect(connectQmp(nonsense, systemClock, 2_000)).rejects.toBeInstanceOf(QmpGone);
  });
});
