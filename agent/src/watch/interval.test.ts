/** How often a watch tells statistics, as its caller asks on the wire: more and less often, and not without a fence or a watch. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { until } from '@berth/test/harness/until.ts';
import { AgentWorld, call, fence, watchInto } from '../testing/world.ts';

let w: AgentWorld;
beforeEach(async () => {
  w = await AgentWorld.start();
});
afterEach(() => w.end());

const set = (intervalMs: bigint, over: Parameters<typeof fence>[0] | undefined = {}) =>
  call(w.clients.watch, w.clients.watch.setStatisticsInterval, { fence: over && fence(over), intervalMs });

it('is what it was last asked for, within what makes sense', async () => {
  const { seen } = watchInto(w.clients);
  /** Between the last two, in milliseconds. */
  const gap = (): number => {
    const at = seen.flatMap((m) => (m.message?.$case === 'statistics' ? [Number(m.message.value.atMs)] : []));
    return (at.at(-1) ?? 0) - (at.at(-2) ?? at.at(-1) ?? 0);
  };
  await until('statistics, as often as the watch was opened for', () => gap() > 0 && gap() < 2_000);
  await set(3_000n);
  await until('fewer', () => gap() > 2_500);
  await set(10n ** 12n);
  await set(1n);
  await until('more', () => gap() < 1_500);
});

it('is refused to those who may not change anything, and where nobody watches', async () => {
  await expect(set(3_000n)).rejects.toMatchObject({ reason: 'BAD_STATE' });
  const { cases } = watchInto(w.clients);
  await until('the snapshot', () => cases().includes('end'));
  await expect(set(3_000n, { installationId: 'x' })).rejects.toMatchObject({ reason: 'WRONG_CONTROLLER' });
  const watch = w.clients.watch;
  await expect(call(watch, watch.setStatisticsInterval, { fence: undefined, intervalMs: 1n })).rejects.toMatchObject({
    reason: 'INVALID_ARGUMENT',
  });
});
