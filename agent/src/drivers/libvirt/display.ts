/**
 * Where QEMU serves the display of a guest, from the XML of what runs, and a connection to it. A UNIX socket unless the definition
 * says otherwise. Knows nothing of VNC or SPICE themselves.
 */
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { XMLParser } from 'fast-xml-parser';
import { ClusterError, badState } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { DisplayKind } from '../hypervisor.ts';

const CONNECT_DEADLINE_MS = 5_000;
const LISTS = ['graphics', 'listen'];

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  parseAttributeValue: false,
  isArray: (name) => LISTS.includes(name),
});

type Attributes = Readonly<Record<string, unknown>>;

/** Undefined: it has no such display, or one that nobody can connect to. */
export function displayTarget(xml: string, kind: DisplayKind): NetConnectOpts | undefined {
  const { domain } = parser.parse(xml) as { domain?: { devices?: { graphics?: Attributes[] } } };
  for (const g of domain?.devices?.graphics ?? []) {
    const target = g['@type'] === kind ? targetOf(g) : undefined;
    if (target) return target;
  }
  return undefined;
}

function targetOf(graphics: Attributes): NetConnectOpts | undefined {
  const listens = Array.isArray(graphics['listen']) ? (graphics['listen'] as Attributes[]) : [];
  const path = text(graphics['@socket']) ?? listens.map((l) => text(l['@socket'])).find(Boolean);
  if (path) return { path };
  const port = Number(text(graphics['@port']));
  if (!(port > 0 && port < 65_536)) return undefined;
  return { port, host: near(text(graphics['@listen']) ?? listens.map((l) => text(l['@address'])).find(Boolean)) };
}

/** Everywhere is here, too. */
function near(address: string | undefined): string {
  if (address === undefined || address === '0.0.0.0') return '127.0.0.1';
  return address === '::' ? '::1' : address;
}

const text = (v: unknown): string | undefined => (typeof v === 'string' && v !== '' ? v : undefined);

/** @throws BAD_STATE when it has none; HYPERVISOR_UNAVAILABLE when QEMU does not take the connection. */
export async function openDisplay(name: string, xml: string, kind: DisplayKind, clock: Clock): Promise<Socket> {
  const target = displayTarget(xml, kind);
  if (target === undefined) throw badState(noDisplay(name, kind));
  const socket = connect(target);
  const late = clock.after(CONNECT_DEADLINE_MS, () => socket.destroy(new Error('no answer in time')));
  try {
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    socket.on('error', () => undefined); // told to whoever reads it, also when that begins later
    return socket;
  } catch (e) {
    const why = `the ${kind.toUpperCase()} display of vm ${name} does not take a connection: ${(e as Error).message}`;
    throw new ClusterError('HYPERVISOR_UNAVAILABLE', why, {}, { cause: e });
  } finally {
    late.cancel();
  }
}

/** With the way out. */
export const noDisplay = (name: string, kind: DisplayKind): string =>
  `vm ${name} runs without a ${kind.toUpperCase()} display. One that was started before Berth gave it one has it from its next start on ` +
  `(berth vm stop ${name}, berth vm start ${name}); otherwise its definition has none`;
