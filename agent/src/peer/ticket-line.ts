/** The one line that opens a stream between two hosts: protocol name and ticket. Versioned, because hosts are upgraded one by one. */

/** Of an image: its bytes over NBD, or the hashes of its chunks (drivers/linux/disks/hash-list.ts) and then the end. Or a volume (volume-frames.ts). */
export type PeerStream = 'image' | 'hashes' | 'volume';

/** How much of the file of a volume is there already, and of what file that is. */
export interface GoOnFrom {
  readonly offset: number;
  /** As the sender said it (VolumeFile); undefined: nothing is there. */
  readonly origin: string | undefined;
}

export const FROM_BEGINNING: GoOnFrom = { offset: 0, origin: undefined };

export interface TicketShown {
  readonly ticket: string;
  readonly stream: PeerStream;
  /** Of a volume. */
  readonly from?: GoOnFrom;
}

const PREFIX = { image: 'berth-image/1 ', hashes: 'berth-hashes/1 ', volume: 'berth-volume/1 ' } as const;
const STREAMS: readonly PeerStream[] = ['image', 'hashes', 'volume'];
const TICKET = /^[A-Za-z0-9_-]{20,200}$/;
const FROM = /^(\d{1,15}) (-|[0-9a-f]{16,64})$/;
export const TICKET_LINE_MAX_BYTES = 320;

export function ticketLine(ticket: string, stream: PeerStream = 'image', from: GoOnFrom = FROM_BEGINNING): string {
  const where = stream === 'volume' ? ` ${from.offset} ${from.origin ?? '-'}` : '';
  return `${PREFIX[stream]}${ticket}${where}\n`;
}

/** Undefined when it is not such a line. @param line without its newline. */
export function parseTicketLine(line: string): TicketShown | undefined {
  const stream = STREAMS.find((s) => line.startsWith(PREFIX[s]));
  if (stream === undefined) return undefined;
  const words = line.slice(PREFIX[stream].length);
  if (stream !== 'volume') return TICKET.test(words) ? { ticket: words, stream } : undefined;
  const space = words.indexOf(' ');
  const [ticket, where] = [words.slice(0, space), FROM.exec(words.slice(space + 1))];
  if (space < 0 || !where || !TICKET.test(ticket)) return undefined;
  const origin = where[2] === '-' ? undefined : where[2];
  return { ticket, stream, from: { offset: Number(where[1]), origin } };
}
