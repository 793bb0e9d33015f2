import { describe, expect, it, vi } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { DomainSeen } from '../hypervisor.ts';
import { DomainCache } from './domain-cache.ts';

const seen = (uuid: string, more: Partial<DomainSeen> = {}): DomainSeen => ({
  uuid,
  name: uuid,
  power: 'stopped',
  reason: 'none',
  persistent: true,
  metadataXml: '<vm/>',
  memoryBytes: 1,
  vcpus: 1,
  ...more,
});

/** A cache whose reads the test answers one by one. */
function setUp(mayRetry = true) {
  const reads: { uuid: string; known: DomainSeen | undefined; answer(d: DomainSeen | undefined | Error): void }[] = [];
  const changes: string[] = [];
  const retries: (() => void)[] = [];
  const cache = new DomainCache({
    clock: { ...systemClock, after: (_ms, fn) => (retries.push(fn), { cancel: () => undefined }) },
    read: (uuid, known) =>
      new Promise((resolve, reject) => {
        reads.push({ uuid, known, answer: (d) => (d instanceof Error ? reject(d) : resolve(d)) });
      }),
    onChange: (uuid, now) => changes.push(`${uuid} ${now?.power ?? 'gone'}`),
    mayRetry: () => mayRetry,
  });
  const answer = async (d: DomainSeen | undefined | Error): Promise<void> => {
    await vi.waitFor(() => expect(reads.length).toBeGreaterThan(0));
    reads.shift()?.answer(d);
  };
  return { cache, reads, changes, retries, answer };
}

describe('the domain cache', () => {
  it('reads once more, and only once, for all that happened during a read', async () => {
    const { cache, reads, answer } = setUp();
    const first = cache.refresh('a', false);
    const later = [cache.refresh('a', false), cache.refresh('a', true), cache.refresh('a', false)];
    await answer(seen('a'));
    expect((await first)?.power).toBe('stopped');
    await vi.waitFor(() => expect(reads).toHaveLength(1));
    expect(reads[0]?.known).toBeUndefined(); // one of them said that the definition changed
    await answer(seen('a', { power: 'running' }));
    expect((await Promise.all(later)).map((d) => d?.power)).toEqual(['running', 'running', 'running']);
    expect(reads).toHaveLength(0);
  });

  it('reads anew after a read that failed', async () => {
    const { cache, answer } = setUp();
    const first = cache.refresh('a', true);
    const second = cache.refresh('a', true);
    await answer(new Error('lost'));
    await expect(first).rejects.toThrow('lost');
    await answer(seen('a'));
    expect(await second).toEqual(seen('a'));
  });

  it('tells of changes only', async () => {
    const { cache, changes, answer } = setUp();
    for (const now of [seen('a'), seen('a'), seen('a', { power: 'running' }), undefined, undefined]) {
      const done = cache.refresh('a', false);
      await answer(now);
      await done;
    }
    expect(changes).toEqual(['a stopped', 'a running', 'a gone']);
  });

  it('finds out about domains that are gone when it syncs', async () => {
    const { cache, answer } = setUp();
    const known = cache.refresh('old', true);
    await answer(seen('old'));
    await known;
    const sync = cache.sync([{ uuid: 'new', name: 'new' }]);
    await answer(undefined);
    await answer(seen('new'));
    await sync;
    expect(cache.list().map((d) => d.uuid)).toEqual(['new']);
  });

  it('lists a domain that cannot be read as unknown, and tries again', async () => {
    const { cache, answer, retries } = setUp();
    const sync = cache.sync([{ uuid: 'a', name: 'web' }]);
    await answer(new Error('no answer'));
    await sync;
    expect(cache.list()).toMatchObject([{ uuid: 'a', name: 'web', power: 'unknown' }]);
    await answer(new Error('still none'));
    await vi.waitFor(() => expect(retries).toHaveLength(1));
    retries[0]?.();
    await answer(seen('a'));
    await vi.waitFor(() => expect(cache.list()).toEqual([seen('a')]));
  });

  it('fails a sync, without inventing anything, when the connection is gone', async () => {
    const { cache, answer } = setUp(false);
    const sync = cache.sync([{ uuid: 'a', name: 'web' }]);
    await answer(new Error('lost'));
    await expect(sync).rejects.toThrow('lost');
    expect(cache.list()).toEqual([]);
  });
});
