/** The one line that opens a stream between two hosts: protocol name and ticket. Versioned, because hosts are upgraded one by one. */

/** Of an image: its bytes over NBD, or the hashes of its chunks (drivers/linux/disks/hash-list.ts) and then the end. Or a volume (volume-frames.ts). */
export type PeerStream = 'image' | 'hashes' | 'volume';

const PREFIX = { image: 'berth-image/1 ', hashes: 'berth-hashes/1 ', volume: 'berth-volume/1 ' } as const;
const STREAMS: readonly PeerStream[] = ['image', 'hashes', 'volume'];
export const TICKET_LINE_MAX_BYTES = 256;

export const ticketLine = (ticket: string, stream: PeerStream = 'image'): string => `${PREFIX[stream]}${ticket}\n`;

/** Undefined when it is not such a line. @param line without its newline. */
export function parseTicketLine(line: string): { readonly ticket: string; readonly stream: PeerStream } | undefined {
  const stream = STREAMS.find((s) => line.startsWith(PREFIX[s]));
  if (stream === undefined) return undefined;
  const ticket = line.slice(PREFIX[stream].length);
  return /^[A-Za-z0-9_-]{20,200}$/.test(ticket) ? { ticket, stream } : undefined;
}
