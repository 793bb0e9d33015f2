import { describe, expect, it } from 'vitest';
import { joined } from './joined.ts';

describe('what many want done at the same time', () => {
  /** Runs that end when a test says so. */
  const begin = () => {
    const runs: { key: string; end: () => void; fail: (e: Error) => void }[] = [];
    const run = (key: string): Promise<void> =>
      new Promise<void>((end, fail) => {
        runs.push({ key, end, fail });
      });
    return { runs, ask: joined(run) };
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('is done at once for the first, and once more for all who came meanwhile', async () => {
    const { runs, ask } = begin();
    const first = ask('a');
    let late = 0;
    const others = [ask('a'), ask('a'), ask('a')].map((p) => p.then(() => late++));
    expect(runs).toHaveLength(1);
    runs[0]!.end();
    await first;
    await turn();
    expect([runs.length, late]).toEqual([2, 0]);
    const later = ask('a');
    runs[1]!.end();
    await Promise.all(others);
    await turn();
    expect(runs).toHaveLength(3);
    runs[2]!.end();
    await later;
    await turn();
    void ask('a');
    expect(runs).toHaveLength(4);
  });

  it('is done apart for each thing, and a failure is told to those who shared it', async () => {
    const { runs, ask } = begin();
    const [a, b, again] = [ask('a'), ask('b'), ask('a')];
    expect(runs.map((r) => r.key)).toEqual(['a', 'b']);
    runs[0]!.fail(new Error('broken'));
    await expect(a).rejects.toThrow('broken');
    await turn();
    runs[1]!.end();
    runs[2]!.end();
    await b;
    await again;
  });
});
