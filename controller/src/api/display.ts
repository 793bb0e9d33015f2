/** DisplayService: a ticket for a screen, and the screen for the ticket. */
import {
  VmDisplayKind,
  type DisplayServiceService,
  type OpenVmDisplay,
  type VmDisplayOutput,
} from '@berth/proto/v1/display.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { DisplayKind, Displays } from '../app/displays.ts';
import { relayBytes } from './bytes.ts';
import type { Handlers } from './call.ts';
import { toWire } from './numbers.ts';

export const displayHandlers = (displays: Displays): Handlers<DisplayServiceService> => ({
  createDisplayTicket: async (r, call) => {
    const { ticket, expiresAtMs, hostName } = await displays.ticket(r.vm, kindOf(r.kind), call.user);
    return { ticket, expiresAtMs: toWire(expiresAtMs), host: hostName };
  },
  openVmDisplay: async function* (messages, call) {
    const open = (wanted: OpenVmDisplay | undefined) => {
      if (wanted === undefined) throw invalidArgument('a display begins with the vm to open');
      return displays.open(wanted.vm, kindOf(wanted.kind), wanted.ticket, call.user);
    };
    for await (const { data } of relayBytes(messages, open, call.signal))
      yield { data: Buffer.from(data) } satisfies VmDisplayOutput;
  },
});

const KINDS: Readonly<Partial<Record<VmDisplayKind, DisplayKind>>> = {
  [VmDisplayKind.VNC]: 'vnc',
  [VmDisplayKind.SPICE]: 'spice',
};

function kindOf(kind: VmDisplayKind): DisplayKind {
  const known = KINDS[kind];
  if (known === undefined) throw invalidArgument('the kind of a display is VNC or SPICE');
  return known;
}
