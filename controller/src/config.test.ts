import { describe, expect, it } from 'vitest';
import { checkConfig, printConfig } from './config.ts';

describe('the configuration', () => {
  it('is complete without a file', () => {
    expect(checkConfig({}, 'x')).toMatchObject({ listen: '0.0.0.0:7443', dial: { perSecond: 200 }, logLevel: 'info' });
  });

  it('reads sizes and durations as people write them', () => {
    const config = checkConfig({ statisticsInterval: '5s', policy: { memoryReserveBytes: '1GiB' } }, 'x');
    expect([config.statisticsInterval, config.policy.memoryReserveBytes]).toEqual([5_000, 2 ** 30]);
  });

  it('tells all problems at once, unknown keys among them', () => {
    const bad = { listen: 'no address', dail: {}, policy: { cpuOvercommit: -1 }, statisticsInterval: 'soon' };
    expect(() => checkConfig(bad, 'c.yaml')).toThrow(
      /^c\.yaml has 4 problems: (?=.*listen: an address)(?=.*dail)(?=.*policy\.cpuOvercommit)(?=.*statisticsInterval)/,
    );
  });

  it('speaks of keys and durations as they are written', () => {
    const bad = { limits: { job: 1 }, statisticsInterval: '1ms' };
    expect(() => checkConfig(bad, 'c.yaml')).toThrow(/limits\.job: there is no such setting/);
    expect(() => checkConfig(bad, 'c.yaml')).toThrow(/statisticsInterval: at least 1s/);
  });

  it('names each setting whose value is none, and each number that is below all sense', () => {
    const under = (value: unknown, path: readonly string[]): readonly string[][] =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.entries(value).flatMap(([key, v]) => under(v, [...path, key]))
        : [[...path]];
    const without = [['httpListen'], ['address'], ['tracing', 'endpoint'], ['certificates', 'clientLifetime']];
    const config = checkConfig({}, 'x');
    const at = (path: readonly string[], value: unknown): unknown =>
      path.reduceRight((inside, key) => ({ [key]: inside }), value);
    const told = (path: readonly string[], value: unknown) =>
      expect(() => checkConfig(at(path, value), 'c.yaml'), `${path.join('.')}: ${JSON.stringify(value)}`).toThrow(
        new RegExp(`^c\\.yaml has (a|\\d+) problems?: .*\\b${path.join('\\.')}: `),
      );
    const paths = [...under(config, []), ...without];
    expect(paths.length).toBeGreaterThan(20);
    for (const path of paths) {
      told(path, ['none']);
      told(path, { none: 1 });
      const value = path.reduce<unknown>(
        (inside, key) => (inside as Record<string, unknown> | undefined)?.[key],
        config,
      );
      if (typeof value === 'number') told(path, -1);
    }
  });

  it('prints no password of a collector', () => {
    const printed = printConfig(checkConfig({ tracing: { endpoint: 'https://ann:s3cret@otel:4318' } }, 'x'));
    expect(printed).toMatch(/otel:4318/);
    expect(printed).not.toMatch(/s3cret/);
  });

  it('prints what it reads back', async () => {
    const { parse } = await import('yaml');
    const config = checkConfig({}, 'x');
    expect(checkConfig(parse(printConfig(config)), 'x')).toEqual(config);
  });
});
