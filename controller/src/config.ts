/**
 * The controller's configuration: one YAML file, flags over it, defaults under it. Unknown keys are errors, and all
 * problems are told at once. The only file of the controller's daemon that may read the environment (it reads nothing).
 */
import { existsSync, readFileSync } from 'node:fs';
import { parseYaml } from '@berth/shared/yaml/parse.ts';
import { scrub } from '@berth/shared/model/scrub.ts';
import { stringify } from 'yaml';
import * as z from 'zod';
import { invalidArgument, chain } from '@berth/shared/errors/cluster-error.ts';
import { parseBytes } from '@berth/shared/units/bytes.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import { splitAddress } from './app/address.ts';
import { DEFAULT_POLICY } from './scheduler/world.ts';
import { DEFAULT_LIFETIMES, type Lifetimes } from './trust/authority.ts';

export const DEFAULT_FILE = '/etc/berth/controller.yaml';
const API_PORT = 7443;
const HTTP_PORT = 7480;

const address = z
  .string()
  .refine((s) => splitAddress(s, API_PORT) !== undefined, 'an address like 0.0.0.0:7443 is expected');

/** `5s`, `20GiB`; numbers are milliseconds and bytes. */
const quantity = (read: (text: string) => number) =>
  z.union([z.number(), z.string()]).transform((v, context) => {
    try {
      return typeof v === 'number' ? v : read(v);
    } catch (e) {
      context.addIssue({ code: 'custom', message: chain(e) });
      return z.NEVER;
    }
  });
const duration = quantity(parseDuration).pipe(z.number().int().min(1_000, 'at least 1s').max(3_600_000, 'at most 1h'));
const DAY_MS = 86_400_000;
/** Below some seconds a certificate is old before it is in service. */
const lifetime = (maxDays: number) =>
  quantity(parseDuration).pipe(
    z
      .number()
      .int()
      .min(10_000, 'at least 10s')
      .max(maxDays * DAY_MS, `at most ${maxDays}d`),
  );
const bytes = quantity(parseBytes).pipe(z.number().int().min(0));

const Schema = z.strictObject({
  /** Database, keys and tokens. */
  dataDir: z.string().min(1).default('/var/lib/berth/controller'),
  /** Where the gRPC API listens. */
  listen: address.default(`0.0.0.0:${API_PORT}`),
  /** Where the JSON API listens; `off`: nowhere. Default: the host of `listen`, as far above its port as 7480 is above 7443. */
  httpListen: z.union([z.literal('off'), address]).optional(),
  /** host:port that goes into join tokens; default: the first address given to init. */
  address: address.optional(),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
  /** libosinfo's data, which tells more of guest systems, where it is installed (package osinfo-db). */
  osinfoDir: z.string().min(1).default('/usr/share/osinfo'),
  /** How often hosts report statistics. */
  statisticsInterval: duration.default(10_000),
  /** Whether administrators may run programs in guests, through the agents in them. */
  guestExec: z.enum(['allowed', 'denied']).default('denied'),
  /** Copies of images that nothing on their host needs: `7d`, or `never`. The last copy always stays. */
  imageCopies: z
    .strictObject({
      unusedFor: z
        .union([z.literal('never'), quantity(parseDuration).pipe(z.number().min(60_000))])
        .default(7 * DAY_MS),
    })
    .prefault({}),
  /** Where spans of calls and jobs go, by OTLP over HTTP; absent: nothing is traced. */
  tracing: z
    .strictObject({ endpoint: z.url({ protocol: /^https?$/ }), share: z.number().min(0).max(1).default(1) })
    .optional(),
  /** How fast hosts are dialled after a restart. */
  dial: z
    .strictObject({
      perSecond: z.number().min(1).max(10_000).default(200),
      atOnce: z.number().int().min(1).max(10_000).default(256),
    })
    .prefault({}),
  /** How long certificates are valid; each is renewed at two thirds of its life. */
  certificates: z
    .strictObject({
      hostLifetime: lifetime(825).default(DEFAULT_LIFETIMES.host),
      controllerLifetime: lifetime(825).default(DEFAULT_LIFETIMES.controller),
      /** Default: 90 days, or a third of the CA's when that is less. */
      clientLifetime: lifetime(825).optional(),
      caLifetime: lifetime(36_500).default(DEFAULT_LIFETIMES.ca),
    })
    .prefault({})
    .refine((c) => c.caLifetime >= 3 * Math.max(c.hostLifetime, c.controllerLifetime, c.clientLifetime ?? 0), {
      error: 'caLifetime must be at least three times the other lifetimes',
    }),
  /** How much one caller may ask for. */
  limits: z
    .strictObject({
      requestsPerSecond: z.number().min(1).max(1_000_000).default(1_000),
      burst: z.number().int().min(1).max(1_000_000).default(2_000),
      streams: z.number().int().min(1).max(100_000).default(512),
      jobs: z.number().int().min(1).max(100_000).default(1_000),
    })
    .prefault({}),
  /** What may be promised of a host. */
  policy: z
    .strictObject({
      cpuOvercommit: z.number().min(0.1).max(1_000).default(DEFAULT_POLICY.cpuOvercommit),
      memoryOvercommit: z.number().min(0.1).max(100).default(DEFAULT_POLICY.memoryOvercommit),
      diskOvercommit: z.number().min(0.1).max(100).default(DEFAULT_POLICY.diskOvercommit),
      memoryReserveBytes: bytes.default(DEFAULT_POLICY.memoryReserveBytes),
      memoryReserveShare: z.number().min(0).max(0.9).default(DEFAULT_POLICY.memoryReserveShare),
      diskReserveShare: z.number().min(0).max(0.9).default(DEFAULT_POLICY.diskReserveShare),
    })
    .prefault({}),
});

export type Config = z.output<typeof Schema>;
/** Where HTTPS listens; undefined when it is off. */
export function httpAddressOf(
  config: Pick<Config, 'listen' | 'httpListen'>,
): { host: string; port: number } | undefined {
  if (config.httpListen === 'off') return undefined;
  if (config.httpListen !== undefined) return splitAddress(config.httpListen, HTTP_PORT);
  const { host, port } = splitAddress(config.listen, API_PORT) ?? { host: '0.0.0.0', port: API_PORT };
  return { host, port: port === 0 ? 0 : Math.min(65_535, port + HTTP_PORT - API_PORT) };
}

export type ConfigInput = z.input<typeof Schema>;

/** Checks and completes; INVALID_ARGUMENT names every problem. */
export function checkConfig(input: unknown, from: string): Config {
  const result = Schema.safeParse(input ?? {});
  if (result.success) return result.data;
  const problems = result.error.issues.flatMap(wordsOf);
  throw invalidArgument(
    `${from} has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}: ${problems.join('; ')}`,
  );
}

function wordsOf(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => `${[...issue.path, key].join('.')}: there is no such setting`);
  return [`${issue.path.join('.') || 'the file'}: ${issue.message}`];
}

export const lifetimesOf = ({ certificates: c }: Config): Lifetimes => ({
  host: c.hostLifetime,
  controller: c.controllerLifetime,
  client: c.clientLifetime ?? Math.min(DEFAULT_LIFETIMES.client, Math.floor(c.caLifetime / 3)),
  ca: c.caLifetime,
});

/** @param file must exist when given; otherwise /etc/berth/controller.yaml is used where there is one. */
export function loadConfig(file: string | undefined, flags: Readonly<Record<string, unknown>>): Config {
  const path = file ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined);
  const given = Object.fromEntries(Object.entries(flags).filter(([, v]) => v !== undefined));
  const stored = path === undefined ? {} : read(path);
  return checkConfig(isRecord(stored) ? { ...stored, ...given } : stored, path ?? 'the command line');
}

/** As YAML; a password in a URL is left out. */
export const printConfig = ({ tracing, ...config }: Config): string =>
  stringify({ ...config, ...(tracing && { tracing: { ...tracing, endpoint: scrub(tracing.endpoint) } }) });

const isRecord = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v);

function read(path: string): unknown {
  try {
    return parseYaml(readFileSync(path, 'utf8')) ?? {};
  } catch (e) {
    throw invalidArgument(`${path} cannot be read`, {}, e);
  }
}
