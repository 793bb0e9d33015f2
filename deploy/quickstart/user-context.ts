/** Makes `npx berth` work at once: a context named quickstart in the person's own configuration, current until --down. */
import { configStore } from '@berth/controller/cli/core/config.ts';

const NAME = 'quickstart';

export function rememberContext(endpoint: { controller: string; ca: string; token: string }): void {
  const store = configStore(undefined);
  const config = store.load();
  store.save({ current: NAME, contexts: { ...config.contexts, [NAME]: endpoint } });
}

export function forgetContext(): void {
  const store = configStore(undefined);
  const { current, contexts } = store.load();
  if (!(NAME in contexts)) return;
  const rest = Object.fromEntries(Object.entries(contexts).filter(([name]) => name !== NAME));
  const next = current === NAME ? Object.keys(rest)[0] : current;
  store.save({ ...(next === undefined ? {} : { current: next }), contexts: rest });
}
