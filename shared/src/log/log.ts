/**
 * Structured logs for both daemons, by pino, on standard error: JSON lines, or on a terminal a short line each, for the
 * person who sits there. Secrets are redacted here, once.
 */
import { isatty } from 'node:tty';
import { pino, type DestinationStream, type Logger } from 'pino';

export type Log = Logger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

const SECRET_PATHS = ['secret', 'token', 'password', 'privateKey', 'ticket'].flatMap((k) => [k, `*.${k}`, `*.*.${k}`]);

/** A logger for one daemon. `name` appears in each line. @param ring gets the same lines. */
export function createLog(name: string, level: LogLevel, ring?: DestinationStream): Log {
  const stderr = pino.destination({ dest: 2, sync: true });
  const shown = isatty(2) ? forPeople(stderr) : stderr;
  return logTo(ring === undefined ? shown : both(shown, ring), name, level);
}

const both = (a: DestinationStream, b: DestinationStream): DestinationStream => ({
  write(line) {
    a.write(line);
    b.write(line);
  },
});

/** As createLog, to any destination. */
export const logTo = (to: DestinationStream, name: string, level: LogLevel): Log =>
  pino({ name, level, redact: { paths: SECRET_PATHS, censor: '[redacted]' }, base: { name } }, to);

const LEVELS: Readonly<Record<number, string>> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' };

/** Fatal records are left out: with them the program ends, and says why in its own last line. */
export const forPeople = (to: DestinationStream): DestinationStream => ({
  write(json) {
    const { level, time, name, msg, err, ...rest } = JSON.parse(json) as Record<string, unknown>;
    const word = LEVELS[Number(level)];
    if (word === undefined) return;
    const why = (err as { message?: string } | undefined)?.message;
    const more = Object.entries(rest).map(([k, v]) => `${k}=${typeof v === 'string' ? v : JSON.stringify(v)}`);
    const said = [msg, why].filter(Boolean).join(': ');
    const at = new Date(Number(time)).toTimeString().slice(0, 8);
    to.write(`${[at, String(name), word.padEnd(5), said, ...more].join(' ').replaceAll('\n', ' ')}\n`);
  },
});
