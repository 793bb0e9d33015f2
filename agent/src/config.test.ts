/** Configuration: defaults, units, and all mistakes at once. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { loadConfig, parseConfig, printConfig, splitHostPort } from './config.ts';

const problems = (text: string): string[] => {
  try {
    parseConfig(text, 'a.yaml');
    return [];
  } catch (e) {
    if (!isClusterError(e, 'INVALID_ARGUMENT')) throw e;
    return e.message.split('\n');
  }
};

describe('the configuration of the agent', () => {
  it('has a default for everything', () => {
    const c = parseConfig('', 'a.yaml');
    expect(c).toMatchObject({ dataDir: '/var/lib/berth', listen: '0.0.0.0:7444', domainType: 'auto' });
    expect(c.statisticsInterval).toBe(10_000);
  });

  it('reads durations with units', () => {
    expect(parseConfig('statisticsInterval: 5s\n', 'a.yaml').statisticsInterval).toBe(5_000);
  });

  it('tells all mistakes at once, each with its place', () => {
    const lines = problems(
      'dataDir: relative\nlissten: 1\nlisten: nowhere\nstatisticsInterval: 5\nobserveInterval: 1ms\n',
    );
    expect(lines).toHaveLength(5);
    for (const at of ['dataDir', 'lissten', 'listen', 'statisticsInterval', 'observeInterval'])
      expect(lines.some((l) => l.startsWith(`a.yaml: ${at}: `))).toBe(true);
  });

  it('names each setting whose value is none', () => {
    const { metrics: _, tracing: __, ...plain } = parseConfig('', 'a.yaml');
    const keys = [...Object.keys(plain), 'peerAddress', 'libvirtSocket', 'metrics', 'tracing'];
    expect(keys.length).toBeGreaterThan(12);
    for (const key of keys)
      for (const wrong of [['none'], { none: 1 }, -1, ''])
        expect(
          problems(stringify({ [key]: wrong })).some((l) => l.startsWith(`a.yaml: ${key}`)),
          `${key}: ${JSON.stringify(wrong)}`,
        ).toBe(true);
  });

  it('gives out metrics nowhere unless told to, and beyond this host only with TLS and a token', () => {
    expect(parseConfig('', 'a.yaml').metrics).toBeUndefined();
    for (const here of ['127.0.0.1:7446', 'localhost:7446', '[::1]:7446'])
      expect(problems(`metrics: { listen: "${here}" }`)).toEqual([]);
    for (const everywhere of ['0.0.0.0:7446', '[::]:7446', 'h1.example.org:7446', '10.0.0.1:7446'])
      expect(problems(`metrics: { listen: "${everywhere}" }`).map((l) => l.split(': ')[1])).toEqual([
        'metrics.tokenFile',
      ]);
    const half = 'metrics: { listen: "0.0.0.0:7446", certificateFile: /a.crt, tokenFile: /a.token }';
    expect(problems(half).map((l) => l.split(': ')[1])).toEqual(['metrics.keyFile']);
    expect(problems('metrics: { listen: "0.0.0.0:7446", tokenFile: /a.token }')).toEqual([]);
    const whole = 'metrics: { listen: "0.0.0.0:7446", certificateFile: /a.crt, keyFile: /a.key, tokenFile: /a.token }';
    expect(problems(whole)).toEqual([]);
    expect(parseConfig(printConfig(parseConfig(whole, 'a')), 'b').metrics?.tokenFile).toBe('/a.token');
  });

  it('refuses text that is not YAML in one line', () => expect(problems('a: [')).toHaveLength(1));

  it('refuses a file that was named and is not there', () => {
    expect(() => loadConfig('/nonexistent/agent.yaml')).toThrow(/cannot read the configuration \/nonexistent/);
  });

  it('reads back what it prints', () => {
    const c = parseConfig('statisticsInterval: 90s\npeerAddress: 10.0.0.1:7445\n', 'a.yaml');
    expect(parseConfig(printConfig(c), 'b.yaml')).toEqual(c);
  });

  it('prints no password of a collector', () => {
    const printed = printConfig(parseConfig('tracing: { endpoint: "http://ann:s3cret@otel:4318" }', 'a.yaml'));
    expect(printed).toMatch(/otel:4318/);
    expect(printed).not.toMatch(/s3cret/);
  });

  it('never throws anything but INVALID_ARGUMENT, whatever the file holds', () => {
    const key = fc.oneof(
      fc.constantFrom('dataDir', 'listen', 'observeInterval', 'domainType', 'statisticsInterval'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.dictionary(key, fc.jsonValue()), (o) => problems(stringify(o)).every((l) => l.length > 0)),
    );
    fc.assert(fc.property(fc.string(), (s) => problems(s).every((l) => l.length > 0)));
  });

  it('splits addresses, IPv6 too', () => {
    expect(splitHostPort('[::1]:7444')).toEqual({ host: '::1', port: 7444 });
    expect(splitHostPort('0.0.0.0:0')).toEqual({ host: '0.0.0.0', port: 0 });
  });
});
