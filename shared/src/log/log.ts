/** Structured logs for both daemons: JSON lines on standard error, by pino. Secrets are redacted here, once. */
import { pino, type Logger } from 'pino';

export type Log = Logger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

const SECRET_PATHS = ['secret', 'token', 'password', 'privateKey', 'ticket'].flatMap((k) => [k, `*.${k}`, `*.*.${k}`]);

/** A logger for one daemon. `name` appears in each line. */
export function createLog(name: string, level: LogLevel): Log {
  return pino(
    { name, level, redact: { paths: SECRET_PATHS, censor: '[redacted]' }, base: { name } },
    pino.destination(2),
  );
}
