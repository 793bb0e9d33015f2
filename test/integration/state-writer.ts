/** A process that writes to a database as fast as it can and prints each revision that it was told is durable. */
import { openState } from '@berth/controller/state/open-state.ts';
import { aHost } from '@berth/controller/state/samples.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';

const [path, workerFile] = process.argv.slice(2) as [string, string];
const log = { error: () => {}, fatal: () => {} };
const state = await openState({ path, clock: systemClock, log, onFatal: () => process.exit(1), workerFile });

async function lane(n: number): Promise<void> {
  for (let i = 0; ; i++) {
    const host = aHost({ name: `h-${n}-${i}`, address: `h-${n}-${i}:1` });
    await state.update((tx) => tx.hosts.put(host));
    process.stdout.write(`${host.name}\n`);
  }
}
await Promise.all(Array.from({ length: 20 }, (_, n) => lane(n)));
