/**
 * The command line's own file, ~/.config/berth/config.yaml: contexts, each with an endpoint, the CA it trusts and a
 * bearer token. The only file of the command line that reads the environment.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';

const Schema = z.strictObject({
  current: z.string().optional(),
  contexts: z
    .record(z.string(), z.strictObject({ controller: z.string(), ca: z.string(), token: z.string() }))
    .default({}),
});
export type Config = z.infer<typeof Schema>;
export type Endpoint = Config['contexts'][string];

export interface ConfigStore {
  readonly path: string;
  load(): Config;
  save(config: Config): void;
  /** The endpoint to use: `--context`, BERTH_CONTEXT, or the current one. */
  endpoint(): Endpoint;
}

export function configStore(wanted: string | undefined): ConfigStore {
  const { BERTH_CONFIG, BERTH_CONTEXT, XDG_CONFIG_HOME } = process.env;
  const path = BERTH_CONFIG ?? join(XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'berth', 'config.yaml');
  const load = () => read(path);
  return {
    path,
    load,
    save: (config) => write(path, config),
    endpoint() {
      const config = load();
      const name = wanted ?? BERTH_CONTEXT ?? config.current;
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

function read(path: string): Config {
  if (!existsSync(path)) return { contexts: {} };
  try {
    return Schema.parse(parse(readFileSync(path, 'utf8')) ?? {});
  } catch (e) {
    throw invalidArgument(`${path} is not a valid configuration (${complaint(e)}); mend or remove it`);
  }
}

/** The first of what is wrong, on one line. */
function complaint(e: unknown): string {
  const [issue] = e instanceof z.ZodError ? e.issues : [];
  const text = issue ? [...issue.path, issue.message].join(': ') : (e as Error).message;
  return text.split('\n')[0] ?? '';
}

function write(path: string, config: Config): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}.new`;
  writeFileSync(fresh, stringify(config), { mode: 0o600 });
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
}
