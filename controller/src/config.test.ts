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
