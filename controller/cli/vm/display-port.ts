/**
 * A port on the person's machine behind which is the display of a VM: each connection gets a ticket and a stream of its own through
 * controller and agent, with back-pressure all the way. Knows nothing of VNC or SPICE.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { VmDisplayInput, VmDisplayKind, VmDisplayOutput } from '@berth/proto/v1/display.ts';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';

export interface Display {
  readonly vmId: string;
  readonly kind: VmDisplayKind;
}

type Stream = ReturnType<Api['display']>;

/** One connection to the display, open when it resolves. @throws why there is none. */
export async function openDisplay(api: Api, { vmId, kind }: Display): Promise<Stream> {
  const { ticket } = await api.call(api.displays, (c) => c.createDisplayTicket, { vm: vmId, kind });
  const stream = api.display();
  stream.on('error', () => undefined); // of one that is cancelled; others hear of it where they read
  try {
    stream.write({ message: { $case: 'open', value: { vm: vmId, kind, ticket } } } satisfies VmDisplayInput);
    await opened(stream);
    return stream;
  } catch (e) {
    stream.cancel();
    throw api.translate(e);
  }
}

/** The first message, which is empty, says that the host has it open. */
async function opened(stream: Stream): Promise<void> {
  const ended = once(stream, 'end').then(() => Promise.reject(badState('the display was closed at once')));
  await Promise.race([once(stream, 'data').then(() => stream.pause()), ended]);
  ended.catch(() => undefined);
}

export interface DisplayPort {
  readonly address: string;
  readonly port: number;
  close(): void;
}

/**
 * @param failed told why a viewer got nothing, or was cut off.
 * @throws BAD_STATE when it can't listen there.
 */
export async function listen(
  api: Api,
  display: Display,
  at: { readonly host: string; readonly port: number },
  failed: (e: Error) => void,
): Promise<DisplayPort> {
  const viewers = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    viewers.add(socket);
    socket.on('error', () => undefined); // viewers come and go
    socket.once('close', () => viewers.delete(socket));
    serve(api, display, socket).catch(failed);
  });
  const { address, port } = await bound(server, at);
  const close = () => {
    server.close();
    for (const v of viewers) v.destroy();
  };
  return { address, port, close };
}

async function bound(server: Server, at: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
  try {
    server.listen(at.port, at.host);
    await once(server, 'listening');
    return server.address() as AddressInfo;
  } catch (e) {
    throw badState(`can't listen on ${at.host} port ${at.port} of this machine: ${(e as Error).message}`);
  }
}

async function serve(api: Api, display: Display, socket: Socket): Promise<void> {
  let stream: Stream | undefined;
  try {
    stream = await openDisplay(api, display);
    const cancel = () => stream?.cancel();
    socket.once('close', cancel);
    if (socket.destroyed) return;
    send(socket, stream).catch(cancel);
    for await (const { data } of stream as AsyncIterable<VmDisplayOutput>)
      if (!socket.write(data)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
  } catch (e) {
    if (!socket.destroyed) throw api.translate(e);
  } finally {
    stream?.cancel();
    socket.end(() => socket.destroy());
  }
}

async function send(socket: Socket, stream: Stream): Promise<void> {
  for await (const data of socket as AsyncIterable<Buffer>)
    if (!stream.write({ message: { $case: 'data', value: data } }))
      await Promise.race([once(stream, 'drain'), once(stream, 'close')]);
  stream.end();
}
