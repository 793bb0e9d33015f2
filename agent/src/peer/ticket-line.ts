/** The one line that opens a stream between two hosts: protocol name and ticket. Versioned, because hosts are upgraded one by one. */

const PREFIX = 'berth-image/1 ';
export const TICKET_LINE_MAX_BYTES = 256;

export const ticketLine = (ticket: string): string => `${PREFIX}${ticket}\n`;

/** Undefined when it is not such a line. @param line without its newline. */
export function parseTicketLine(line: string): string | undefined {
  const ticket = line.startsWith(PREFIX) ? line.slice(PREFIX.length) : '';
  return /^[A-Za-z0-9_-]{20,200}$/.test(ticket) ? ticket : undefined;
}
