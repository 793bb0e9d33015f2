/**
 * What the owner of the data directory may ask a running controller without any token: a copy of its database, which it holds
 * under an exclusive lock. A UNIX socket that only the same user and root can reach. One line of JSON each way; the copy is
 * removed when whoever asked for it hangs up.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { chain, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { State } from '../state/state.ts';
import { controlDir, controlSocket } from './control-path.ts';

export const ControlRequest = z.object({ op: z.literal('copyDatabase') });
export const ControlAnswer = z.union([
  z.object({ path: z.string() }),
  z.object({ error: z.object({ reason: z.string(), message: z.string() }) }),
]);
export type ControlAnswer = z.output<typeof ControlAnswer>;

export interface ControlDeps {
  readonly dataDir: string;
  readonly state: Pick<State, 'copyTo' | 'settled'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Pick<Log, 'warn' | 'info'>;
}

const MAX_LINE = 10_000;

export class Control {
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();

  constructor(private readonly deps: ControlDeps) {}

  /** Never in the way of the controller's start: without it there is no backup while it runs, and nothing else is missing. */
  async start(): Promise<void> {
    const { dataDir, log } = this.deps;
    const path = controlSocket(dataDir);
    if (path === undefined)
      return log.warn(`the path of ${dataDir} is too long for a socket in it: stop the controller to make backups`);
    try {
      // the database is ours, so whatever is there was left by a run that died
      rmSync(controlDir(dataDir), { recursive: true, force: true });
      mkdirSync(controlDir(dataDir), { mode: 0o700 });
      const server = createServer((socket) => this.serve(socket));
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
      this.server = server;
    } catch (e) {
      log.warn(`there is no socket for backups while the controller runs: ${chain(e)}`);
    }
  }

  async stop(): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    this.server = undefined;
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    rmSync(controlDir(this.deps.dataDir), { recursive: true, force: true });
  }

  private serve(socket: Socket): void {
    this.sockets.add(socket);
    const copies: string[] = [];
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.sockets.delete(socket);
      for (const path of copies) this.remove(path);
    });
    let bytes = 0;
    socket.on('data', (d) => (bytes += d.length) > MAX_LINE && socket.destroy());
    createInterface({ input: socket }).on('line', (line) => {
      void this.answer(line, copies).then((answer) => {
        if (!socket.destroyed) return void socket.write(`${JSON.stringify(answer)}\n`);
        for (const path of copies) this.remove(path);
      });
    });
  }

  private async answer(line: string, copies: string[]): Promise<ControlAnswer> {
    const { dataDir, state, clock } = this.deps;
    try {
      if (!ControlRequest.safeParse(parse(line)).success) throw invalidArgument('this controller does not know that');
      const path = join(controlDir(dataDir), `${newId('event', clock.now())}.db`);
      copies.push(path);
      await state.settled();
      await state.copyTo(path);
      return { path };
    } catch (e) {
      return { error: { reason: isClusterError(e) ? e.reason : 'INTERNAL', message: chain(e) } };
    }
  }

  private remove(path: string): void {
    const dir = controlDir(this.deps.dataDir);
    try {
      for (const name of readdirSync(dir))
        if (join(dir, name).startsWith(path)) rmSync(join(dir, name), { force: true });
    } catch {
      // the whole folder goes when the controller stops
    }
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
