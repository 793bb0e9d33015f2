/** Makes `npx berth` work at once: a context named quickstart in the person's own configuration, current until --down. */
import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { configStore, type Endpoint } from '@berth/controller/cli/core/config.ts';

const NAME = 'quickstart';

/** Answers which context was current before. */
export function rememberContext(endpoint: Endpoint): string | undefined {
  const store = configStore(undefined);
  const { current, contexts } = store.load();
  store.save({ current: NAME, contexts: { ...contexts, [NAME]: endpoint } });
  return current === NAME ? undefined : current;
}

/** A configuration in which nothing else stands goes too. */
export function forgetContext(previous: string | undefined): void {
  const store = configStore(undefined);
  const { current, contexts } = store.load();
  if (!(NAME in contexts)) return;
  const rest = Object.fromEntries(Object.entries(contexts).filter(([name]) => name !== NAME));
  const names = Object.keys(rest);
  if (names.length === 0) return removeFile(store.path);
  const next = current !== NAME ? current : (names.find((n) => n === previous) ?? names[0]);
  store.save({ ...(next === undefined ? {} : { current: next }), contexts: rest });
}

function removeFile(path: string): void {
  rmSync(path, { force: true });
  if (readdirSync(dirname(path)).length === 0) rmdirSync(dirname(path));
}
