/**
 * The command line's own file, ~/.config/berth/config.yaml: contexts, each with an endpoint, the CA it trusts, and a client
 * certificate with its key, or a bearer token. The only file of the command line that reads the environment.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { parseYaml } from '@berth/shared/yaml/parse.ts';
import { stringify } from 'yaml';
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';

/** What the person edits with. */
export const editorCommand = (): string => set('VISUAL') ?? set('EDITOR') ?? 'vi';

/** A login whose key never leaves this machine. */
export interface ClientCertificate {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
  /** Undefined: it ends with its login, which nothing prolongs. */
  readonly renewsAtMs: number | undefined;
}

/** `client` or `token`; neither before a login by password. */
export interface Endpoint {
  readonly controller: string;
  readonly ca: string;
  readonly token?: string;
  readonly client?: ClientCertificate;
}

export interface Config {
  readonly current?: string | undefined;
  readonly contexts: Readonly<Record<string, Endpoint>>;
}

export interface ConfigStore {
  readonly path: string;
  load(): Config;
  save(config: Config): void;
  /** Name of the context to use; undefined when there is none. */
  current(): string | undefined;
  /** The endpoint to use: `--context`, BERTH_CONTEXT, or the current one. */
  endpoint(): Endpoint;
}

/** @param path by default, the file of whoever runs this. */
export function configStore(wanted: string | undefined, path = ownFile()): ConfigStore {
  const context = wanted ?? set('BERTH_CONTEXT');
  const load = () => read(path);
  return {
    path,
    load,
    save: (config) => write(path, config),
    current: () => context ?? load().current,
    endpoint() {
      const config = load();
      const name = context ?? config.current;
      if (name === undefined)
        throw new ClusterError(
          'UNAUTHENTICATED',
          `not logged in to a controller. Log in with: berth login --token-file FILE (or start one: npm run quickstart)`,
        );
      const found = config.contexts[name];
      if (!found)
        throw notFound(`no context ${name} in ${path}. Known: ${Object.keys(config.contexts).join(', ') || 'none'}`);
      return found;
    },
  };
}

const ownFile = (): string =>
  set('BERTH_CONFIG') ?? join(set('XDG_CONFIG_HOME') ?? join(homedir(), '.config'), 'berth', 'config.yaml');

/** `BERTH_CONTEXT= berth …` is how shells take a variable away for one command. */
const set = (variable: string): string | undefined => process.env[variable] || undefined;

/** Where the trace of a command goes, and of what it is a part; as OpenTelemetry names them. Undefined: it is not traced. */
export function traceSettings() {
  const all = set('OTEL_EXPORTER_OTLP_ENDPOINT');
  const endpoint = set('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') ?? (all && `${all.replace(/\/$/, '')}/v1/traces`);
  return endpoint === undefined ? undefined : { endpoint, parent: set('TRACEPARENT') };
}

/** Folders that programs are looked for in. */
export const searchPath = (): string[] => (set('PATH') ?? '').split(delimiter).filter(Boolean);

/** Whether windows can be opened here. */
export const hasDesktop = (): boolean => (set('DISPLAY') ?? set('WAYLAND_DISPLAY')) !== undefined;

function read(path: string): Config {
  if (!existsSync(path)) return { contexts: {} };
  try {
    return check(parseYaml(readFileSync(path, 'utf8')) ?? {});
  } catch (e) {
    const complaint = (e as Error).message.split('\n')[0] ?? '';
    throw invalidArgument(`${path} is not a valid configuration (${complaint}); mend or remove it`);
  }
}

/** By hand: loading a schema library would be a tenth of what a command takes. Throws what is wrong, with its place. */
function check(v: unknown): Config {
  const { current, contexts = {}, ...rest } = mapping('the file', v);
  refuseOthers('', rest);
  if (current !== undefined && typeof current !== 'string') throw new Error('current: not a text');
  const endpoints = Object.entries(mapping('contexts', contexts)).map(([name, e]) => [name, endpointOf(name, e)]);
  return { ...(current !== undefined && { current }), contexts: Object.fromEntries(endpoints) as Config['contexts'] };
}

function endpointOf(name: string, v: unknown): Endpoint {
  const where = `contexts: ${name}: `;
  const { controller, ca, token, client, ...rest } = mapping(`contexts: ${name}`, v);
  refuseOthers(where, rest);
  if ((token === undefined) === (client === undefined)) throw new Error(`${where}either token or client is needed`);
  const shows = client === undefined ? { token: text(`${where}token`, token) } : { client: clientOf(where, client) };
  return { controller: text(`${where}controller`, controller), ca: text(`${where}ca`, ca), ...shows };
}

function clientOf(where: string, v: unknown): ClientCertificate {
  const { certificate, key, renewsAt, ...rest } = mapping(`${where}client`, v);
  refuseOthers(`${where}client: `, rest);
  const renewsAtMs = renewsAt === undefined ? undefined : Date.parse(text(`${where}client: renewsAt`, renewsAt));
  if (Number.isNaN(renewsAtMs)) throw new Error(`${where}client: renewsAt: a time is needed`);
  return {
    certificate: text(`${where}client: certificate`, certificate),
    key: text(`${where}client: key`, key),
    renewsAtMs,
  };
}

function text(where: string, value: unknown): string {
  if (typeof value !== 'string') throw new Error(`${where}: a text is needed`);
  return value;
}

function mapping(where: string, v: unknown): Readonly<Record<string, unknown>> {
  if (typeof v === 'object' && v !== null && !Array.isArray(v)) return v as Record<string, unknown>;
  throw new Error(`${where}: keys and values are needed`);
}

function refuseOthers(where: string, rest: object): void {
  const [key] = Object.keys(rest);
  if (key !== undefined) throw new Error(`${where}${key}: not a key that is known`);
}

function write(path: string, config: Config): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}.new`;
  writeFileSync(fresh, stringify(written(config)), { mode: 0o600 });
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
}

/** As the file has it: times for people. */
function written({ current, contexts }: Config): object {
  const endpoints = Object.entries(contexts).map(([name, { client, ...e }]) => {
    if (client === undefined) return [name, e] as const;
    const { renewsAtMs, ...pair } = client;
    const renewsAt = renewsAtMs === undefined ? {} : { renewsAt: new Date(renewsAtMs).toISOString() };
    return [name, { ...e, client: { ...pair, ...renewsAt } }] as const;
  });
  return { ...(current !== undefined && { current }), contexts: Object.fromEntries(endpoints) };
}
