/** DisplayService on the wire: the first message names the display, then bytes go both ways until either side ends. */
import type { Duplex } from 'node:stream';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import {
  DisplayKind,
  type DisplayInput,
  type DisplayOutput,
  type DisplayServiceServer,
  type OpenDisplay,
} from '@berth/proto/agent/v1/display.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Displays } from '../domain/displays.ts';
import { write, type Guard } from './guard.ts';

type DisplayCall = ServerDuplexStream<DisplayInput, DisplayOutput>;

export const displayService = (guard: Guard, displays: Displays): DisplayServiceServer => ({
  openDisplay: guard.bidi('OpenDisplay', (call, signal) => serve(displays, call, signal)),
});

async function serve(displays: Displays, call: DisplayCall, signal: AbortSignal): Promise<void> {
  const input = call.iterator({ destroyOnReturn: false });
  const { uuid, vmId, kind } = opening((await input.next()) as IteratorResult<DisplayInput, unknown>);
  const display = await displays.open({ uuid, vmId }, kind === DisplayKind.SPICE ? 'spice' : 'vnc');
  const stop = (): void => void display.destroy();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    await write(call, { data: Buffer.alloc(0) }, signal); // it is open, also where the viewer speaks first
    send(input as AsyncIterator<DisplayInput>, display).catch(stop);
    for await (const data of display) await write(call, { data: data as Buffer }, signal);
  } catch (e) {
    if (signal.aborted) throw signal.reason;
    if (!isReset(e)) throw e;
  } finally {
    signal.removeEventListener('abort', stop);
    display.destroy();
  }
}

/** How a QEMU that ends leaves its viewers. */
const isReset = (e: unknown): boolean =>
  ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes((e as NodeJS.ErrnoException).code ?? '');

/** One message at a time: what QEMU can't take yet waits in the caller's stream. */
async function send(input: AsyncIterator<DisplayInput>, display: Duplex): Promise<void> {
  for (let next = await input.next(); next.done !== true; next = await input.next()) {
    const { message } = next.value;
    if (message?.$case !== 'data' || display.destroyed) continue;
    if (!display.write(message.value))
      await new Promise((resolve) => display.once('drain', resolve).once('close', resolve));
  }
  display.end();
}

function opening(first: IteratorResult<DisplayInput, unknown>): OpenDisplay {
  const message = first.done === true ? undefined : first.value.message;
  if (message?.$case !== 'open') throw invalidArgument('the first message must name the domain whose display to open');
  const { kind } = message.value;
  if (kind !== DisplayKind.VNC && kind !== DisplayKind.SPICE)
    throw invalidArgument('this agent knows displays of the kinds VNC and SPICE');
  return message.value;
}
