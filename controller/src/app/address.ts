/** host:port texts: what is accepted, and how they are written down. Pure. */
import { isIP } from 'node:net';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

const NAME =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;
const AGENT_PORT = 7444;

/** Splits `host`, `host:port`, `[v6]:port`; undefined when it is none of them. Port 0 only where asked for. */
export function splitAddress(text: string, defaultPort: number): { host: string; port: number } | undefined {
  const bare = isIP(text) === 6 ? [text, text, undefined] : /^\[?([^\]]*?)\]?(?::(\d{1,5}))?$/.exec(text);
  if (!bare) return undefined;
  const host = bare[1] ?? '';
  const port = bare[2] === undefined || bare[2] === '' ? defaultPort : Number(bare[2]);
  const bracketed = text.startsWith('[');
  const kind = isIP(host);
  if (bracketed !== (kind === 6) && text !== host) return undefined;
  if (kind === 0 && (!NAME.test(host) || /^[\d.]+$/.test(host))) return undefined;
  return port <= 65_535 ? { host, port } : undefined;
}

export const joinAddress = (host: string, port: number): string =>
  isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;

/** An agent's address, in one spelling; INVALID_ARGUMENT otherwise. */
export function parseHostAddress(text: string): string {
  const parts = splitAddress(text.trim(), AGENT_PORT);
  if (parts && parts.port > 0) return joinAddress(parts.host.toLowerCase(), parts.port);
  throw invalidArgument(
    `${JSON.stringify(text.slice(0, 80))} is not an address: write it like h1.example or 10.0.0.1:${AGENT_PORT}`,
  );
}
