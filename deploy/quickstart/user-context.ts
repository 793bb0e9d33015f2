/** Makes `npx berth` work at once: a context of the quickstart in the person's own configuration, current until --down. */
import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { configStore, type Endpoint } from '@berth/controller/cli/core/config.ts';

/** Answers which context was current before. */
export function rememberContext(name: string, endpoint: Endpoint): string | undefined {
  const store = configStore(undefined);
  const { current, contexts } = store.load();
  store.save({ current: name, contexts: { ...contexts, [name]: endpoint } });
  return current === name ? undefined : current;
}

/** A configuration in which nothing else stands goes too. */
export function forgetContext(name: string, previous: string | undefined): void {
  const store = configStore(undefined);
  const { current, contexts } = store.load();
  if (!(name in contexts)) return;
  const rest = Object.fromEntries(Object.entries(contexts).filter(([other]) => other !== name));
  const names = Object.keys(rest);
  if (names.length === 0) return removeFile(store.path);
  const next = current !== name ? current : (names.find((n) => n === previous) ?? names[0]);
  store.save({ ...(next === undefined ? {} : { current: next }), contexts: rest });
}

function removeFile(path: string): void {
  rmSync(path, { force: true });
  if (readdirSync(dirname(path)).length === 0) rmdirSync(dirname(path));
}
