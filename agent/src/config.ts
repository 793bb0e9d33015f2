/**
 * Configuration of the agent: defaults, then /etc/berth/agent.yaml. Strict: an unknown key or a bad value is an error, and
 * all of them are told at once. The only file of the agent that may read the environment (it needs nothing from it).
 */
import { existsSync, readFileSync } from 'node:fs';
import { parseDuration, unitDuration } from '@berth/shared/units/duration.ts';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { scrub } from '@berth/shared/model/scrub.ts';
import { parseYaml } from '@berth/shared/yaml/parse.ts';
import { stringify } from 'yaml';
import * as z from 'zod';

export const DEFAULT_CONFIG_FILE = '/etc/berth/agent.yaml';

/** A value with a unit: text in the file, a number inside. */
const unit = (parse: (text: string) => number, min: number, max: number, show: (n: number) => string) =>
  z.string('expected a number with a unit, in quotes if need be').transform((text, ctx) => {
    try {
      const n = parse(text);
      if (n >= min && n <= max) return n;
      ctx.addIssue({ code: 'custom', message: `must lie between ${show(min)} and ${show(max)}` });
    } catch (e) {
      ctx.addIssue({ code: 'custom', message: isClusterError(e) ? e.message : String(e) });
    }
    return z.NEVER;
  });
const duration = (min: string, max: string) =>
  unit(parseDuration, parseDuration(min), parseDuration(max), unitDuration);

const path = z.string().regex(/^\/[^\0\n]*$/, 'must be an absolute path');
const hostPort = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, {
    error: 'must be address:port, like 0.0.0.0:7444',
    abort: true,
  })
  .refine((s) => Number(s.slice(s.lastIndexOf(':') + 1)) <= 65_535, 'port must be at most 65535');
const account = z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'must be the name of a local account');

/** Whether only programs on this host reach it. */
export const isLoopback = (host: string): boolean => /^(localhost|::1|127(\.\d{1,3}){3})$/.test(host);

/** Where the agent gives out metrics by itself. Beyond this host never without TLS and a token; without a certificate, the host's own. */
const Metrics = z
  .strictObject({
    listen: hostPort,
    certificateFile: path.optional(),
    keyFile: path.optional(),
    tokenFile: path.optional(),
  })
  .superRefine((m, ctx) => {
    const wrong = (key: keyof typeof m, message: string) => ctx.addIssue({ code: 'custom', path: [key], message });
    if (m.certificateFile !== undefined && m.keyFile === undefined) wrong('keyFile', 'is needed with certificateFile');
    if (m.keyFile !== undefined && m.certificateFile === undefined) wrong('certificateFile', 'is needed with keyFile');
    if (m.tokenFile !== undefined || isLoopback(splitHostPort(m.listen).host)) return;
    const why = `is needed, because ${m.listen} can be reached from other hosts`;
    wrong('tokenFile', `${why}; without it, 127.0.0.1:7446 will do`);
  });

const Schema = z.strictObject({
  dataDir: path.default('/var/lib/berth'),
  listen: hostPort.default('0.0.0.0:7444'),
  bootDir: path.default('/var/lib/berth/boot'),
  peerListen: hostPort.default('0.0.0.0:7445'),
  peerAddress: hostPort.optional(),
  libvirtSocket: path.optional(),
  domainType: z.enum(['auto', 'kvm', 'qemu']).default('auto'),
  observeInterval: duration('1s', '1h').prefault('15s'),
  statisticsInterval: duration('1s', '1h').prefault('10s'),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
  unprivilegedUser: account.default('nobody'),
  metrics: Metrics.optional(),
  tracing: z.strictObject({ endpoint: z.url({ protocol: /^https?$/ }) }).optional(),
});

/** As written in the file, with defaults filled in and units resolved (milliseconds). */
export type AgentConfig = Readonly<z.output<typeof Schema>>;
export type MetricsConfig = NonNullable<AgentConfig['metrics']>;

/** @throws INVALID_ARGUMENT whose message has one line per problem. */
export function parseConfig(text: string, file: string): AgentConfig {
  let raw: unknown;
  try {
    raw = parseYaml(text) ?? {};
  } catch (e) {
    throw invalidArgument(`${file} is not YAML: ${firstLine(e)}`);
  }
  const result = Schema.safeParse(raw);
  if (result.success) return result.data;
  throw invalidArgument(result.error.issues.flatMap((i) => words(i, file)).join('\n'));
}

/** How many threads Node reads files with: as its unit says, or Node's own number. */
export const ioThreads = (): number => Math.max(4, Number(process.env['UV_THREADPOOL_SIZE']) || 0);

/** Reads `file`, or the default file if it is there. A file that was named must exist. */
export function loadConfig(file?: string): AgentConfig {
  const chosen = file ?? DEFAULT_CONFIG_FILE;
  if (file === undefined && !existsSync(chosen)) return parseConfig('', chosen);
  let text: string;
  try {
    text = readFileSync(chosen, 'utf8');
  } catch (e) {
    throw invalidArgument(`cannot read the configuration ${chosen}: ${firstLine(e)}`);
  }
  return parseConfig(text, chosen);
}

/** YAML of a configuration, in the form in which it can be read back; a password in a URL is left out. */
export function printConfig(c: AgentConfig): string {
  return stringify({
    ...c,
    ...(c.tracing && { tracing: { ...c.tracing, endpoint: scrub(c.tracing.endpoint) } }),
    observeInterval: unitDuration(c.observeInterval),
    statisticsInterval: unitDuration(c.statisticsInterval),
  });
}

/** Of the monolithic daemon and of the modular one. */
const LIBVIRT_SOCKETS = ['/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock'];

export const libvirtSockets = (c: AgentConfig): readonly string[] =>
  c.libvirtSocket === undefined ? LIBVIRT_SOCKETS : [c.libvirtSocket];

/** The one that is there; ask again for every connection, because libvirt may come later than the agent. */
export const findLibvirtSocket = (c: AgentConfig): string =>
  libvirtSockets(c).find((path) => existsSync(path)) ?? (libvirtSockets(c)[0] as string);

interface Socket {
  readonly socketPath: () => string;
  readonly uri: () => string;
}

/** Where libvirt's daemons are apart, storage has one of its own beside that of QEMU; the other asks it too, but waits for it. */
export const storageSocket = (c: AgentConfig): Socket => daemonSocket(c, 'virtstoraged-sock', 'storage:///system');
/** So have networks. */
export const networkSocket = (c: AgentConfig): Socket => daemonSocket(c, 'virtnetworkd-sock', 'network:///system');

function daemonSocket(c: AgentConfig, name: string, ownUri: string): Socket {
  const find = (): { socketPath: string; uri: string } => {
    const main = findLibvirtSocket(c);
    const own = main.replace(/virtqemud-sock$/, name);
    return own !== main && existsSync(own)
      ? { socketPath: own, uri: ownUri }
      : { socketPath: main, uri: 'qemu:///system' };
  };
  return { socketPath: () => find().socketPath, uri: () => find().uri };
}

/** The address and port of a `host:port` value; brackets of an IPv6 address are taken off. */
export function splitHostPort(address: string): { readonly host: string; readonly port: number } {
  const cut = address.lastIndexOf(':');
  return { host: address.slice(0, cut).replace(/^\[|\]$/g, ''), port: Number(address.slice(cut + 1)) };
}

function words(issue: z.core.$ZodIssue, file: string): string[] {
  const at = [...issue.path].join('.');
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((k) => `${file}: ${[...issue.path, k].join('.')}: there is no such setting`);
  return [`${file}: ${at === '' ? 'the file' : at}: ${issue.message}`];
}

const firstLine = (e: unknown): string => (e instanceof Error ? e.message : String(e)).split('\n')[0] as string;
