/**
 * What deploy/ ships for monitoring: alerts that are tested, dashboards that ask for what there is, and a list of all metrics that is
 * the code's own. promtool, the program that will read the rules, is the judge.
 */
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { AGENT_FAMILIES } from '@berth/agent/metrics/families.ts';
import { CONTROLLER_FAMILIES } from '@berth/controller/metrics/families.ts';
import { findRoot } from '@berth/deploy/setup/root.js';
import type { Families, Family } from '@berth/shared/metrics/exposition.ts';
import { askedByAlerts, askedByPanels, chosen, dashboards, type Asked } from './dashboards.ts';
import { describeWithPrometheus, PROMTOOL } from './prometheus.ts';

const ALL: Families = { ...CONTROLLER_FAMILIES, ...AGENT_FAMILIES };
const at = (...path: string[]): string => join(findRoot(), 'deploy', ...path);
const read = (...path: string[]): string => readFileSync(at(...path), 'utf8');
/** That Prometheus, its service discovery and its rules add. */
const ADDED = ['host', 'instance', 'job', 'le'];

/** `berth_x_bucket` is a sample of `berth_x`. */
const familyOf = (name: string): Family | undefined => ALL[name] ?? ALL[name.replace(/_(bucket|sum|count)$/, '')];

/** What an expression asks for that nobody gives out. */
function unknownIn({ expr }: Asked): string[] {
  const plain = expr.replaceAll(/"[^"]*"/g, '""');
  const wrong: string[] = [];
  for (const [, name = '', , matchers = ''] of plain.matchAll(/\b((?:berth|process|nodejs)_\w+)(\{([^}]*)\})?/g)) {
    const family = familyOf(name);
    if (family === undefined) wrong.push(name);
    for (const [, l = ''] of matchers.matchAll(/(\w+)\s*(?:=|!)/g))
      if (!family?.labels.includes(l) && !ADDED.includes(l)) wrong.push(`${name}{${l}}`);
  }
  const known = new Set([...ADDED, ...Object.values(ALL).flatMap((f) => f.labels)]);
  for (const [, inside = ''] of plain.matchAll(/\b(?:by|on|without|group_left) ?\(([^)]*)\)/g))
    for (const l of inside.split(/[, ]+/).filter(Boolean)) if (!known.has(l)) wrong.push(`by ${l}`);
  return wrong;
}

const table = (title: string, families: Families): string =>
  [
    `## ${title}\n`,
    '| metric | type | labels | series | what it is |',
    '| --- | --- | --- | --- | --- |',
    ...Object.entries(families).map(
      ([name, f]) =>
        `| \`${name}\` | ${f.type} | ${f.labels.map((l) => `\`${l}\``).join(' ') || '-'} | ${f.bound} | ${f.help} |`,
    ),
    '',
  ].join('\n');

async function list(): Promise<string> {
  const text = [
    '# Metrics\n',
    'Made from the tables in the code (`UPDATE_GOLDEN=1 npx vitest run --project unit test/harness/monitoring.test.ts`). What',
    '`series` says is the bound: README.md adds it up.\n',
    table('Of the controller', CONTROLLER_FAMILIES),
    table('Of a host and its agent', AGENT_FAMILIES),
  ].join('\n');
  const { format } = await import('prettier');
  return format(text, { parser: 'markdown', printWidth: 120, singleQuote: true });
}

describe('the list of metrics', () => {
  it('is that of the code', async () => {
    const file = at('prometheus', 'METRICS.md');
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, await list());
    expect(readFileSync(file, 'utf8'), 'run with UPDATE_GOLDEN=1').toBe(await list());
  });

  it('has names and types as Prometheus wants them, and nothing twice with another meaning', () => {
    for (const [name, f] of Object.entries(ALL)) {
      expect(name).toMatch(/^(berth|process|nodejs)_[a-z0-9_]+$/);
      expect(name.endsWith('_total'), name).toBe(f.type === 'counter');
      expect(f.help, name).toMatch(/^[A-Za-z].*\.$/s);
    }
    const both = Object.keys(CONTROLLER_FAMILIES).filter((n) => n in AGENT_FAMILIES);
    expect(both.every((n) => !/^berth_(host|vm)_/.test(n))).toBe(true);
  });
});

describe('alerts and dashboards', () => {
  it('ask for metrics and labels that there are', () => {
    const asked = [...askedByAlerts(), ...askedByPanels()];
    expect(asked.length).toBeGreaterThan(80);
    expect(asked.flatMap((a) => unknownIn(a).map((w) => `${a.where}: ${w}`))).toEqual([]);
  });

  it('say what is wrong and what to do, where they are alerts', () => {
    const rules = read('prometheus', 'berth-alerts.yml')
      .split(/^ +- alert: /m)
      .slice(1);
    expect(rules.length).toBe(askedByAlerts().length);
    for (const rule of rules) {
      expect(rule).toMatch(/^ +labels: \{ severity: (critical|warning) \}$/m);
      for (const what of ['summary', 'description']) expect(rule, rule).toMatch(new RegExp(`^ +${what}: \\S`, 'm'));
    }
  });

  it('have a test each, where they are alerts: that they come, and that they do not', () => {
    const tested = read('prometheus', 'berth-alerts.test.yml');
    const lacks = askedByAlerts().filter(
      ({ where }) =>
        !tested.includes(`alertname: ${where}\n`) || !tested.includes(`alertname: ${where}, exp_alerts: []`),
    );
    expect(lacks).toEqual([]);
  });

  it('name in legends only labels that their series have, and count in the unit that comes out', () => {
    for (const { file, panels } of dashboards())
      for (const p of panels)
        for (const { expr, legendFormat } of p.targets ?? []) {
          const where = `${file}: ${p.title}`;
          const summed = /\bby \(([^)]*)\)/.exec(expr)?.[1]?.split(/[, ]+/);
          const families = [...expr.matchAll(/\b(?:berth|process|nodejs)_\w+/g)].map(([name]) => familyOf(name));
          const there = summed ?? [...ADDED, ...families.flatMap((f) => f?.labels ?? [])];
          for (const [, name] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(there, where).toContain(name);
          // seconds in a second are a share of it
          const isShare = /rate\(\w+_seconds_total\b/.test(expr) && !expr.includes(' / ');
          if (isShare) expect(p.fieldConfig?.defaults.unit, where).not.toBe('s');
        }
  });

  it('put panels side by side and never over one another', () => {
    for (const { file, panels, uid } of dashboards()) {
      expect(`${uid}.json`).toBe(file);
      expect(new Set(panels.map((p) => p.id)).size).toBe(panels.length);
      const cells = panels.flatMap(({ gridPos: g }) =>
        Array.from({ length: g.w * g.h }, (_, i) => `${g.x + (i % g.w)}/${g.y + Math.floor(i / g.w)}`),
      );
      expect(new Set(cells).size, file).toBe(cells.length);
    }
  });

  it('have what Grafana wants of each, and ask for nothing that nobody can choose', () => {
    for (const { file, panels, links, templating } of dashboards()) {
      const known = templating.list.map((v) => v.name);
      expect(known[0], file).toBe('datasource');
      for (const link of links)
        expect(Object.keys(link)).toEqual(expect.arrayContaining(['icon', 'targetBlank', 'tooltip']));
      for (const p of panels.filter(({ type }) => type !== 'row')) {
        const where = `${file}: ${p.title}`;
        expect(p.datasource, where).toEqual({ type: 'prometheus', uid: '${datasource}' });
        expect(p.options?.legend ?? { calcs: [], showLegend: true }, where).toMatchObject({
          calcs: [],
          showLegend: true,
        });
        expect(new Set(p.targets?.map((t) => t.refId)).size, where).toBe(p.targets?.length);
        for (const { expr } of p.targets ?? [])
          for (const [, name = ''] of expr.matchAll(/\$\{?(\w+)/g))
            expect(['__rate_interval', ...known], where).toContain(name);
      }
    }
  });
});

describeWithPrometheus('promtool', () => {
  it('takes the rules, and finds that each alert comes when it should', async () => {
    const run = (...args: string[]) => execa(PROMTOOL, args, { cwd: at('prometheus'), reject: false, all: true });
    expect((await run('check', 'rules', 'berth-alerts.yml')).exitCode).toBe(0);
    const tested = await run('test', 'rules', 'berth-alerts.test.yml');
    expect(tested.exitCode, tested.all).toBe(0);
  });

  it('takes the configuration', async () => {
    const { exitCode, all } = await execa(
      PROMTOOL,
      ['check', 'config', '--syntax-only', at('prometheus', 'prometheus.yml')],
      {
        reject: false,
        all: true,
      },
    );
    expect(exitCode, all).toBe(0);
  });

  it('can read every expression of the dashboards', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-dashboards-'));
    try {
      const rules = askedByPanels().map(({ expr }, i) => ({ record: `panel_${i}`, expr: chosen(expr, '1m') }));
      writeFileSync(join(dir, 'rules.yml'), JSON.stringify({ groups: [{ name: 'dashboards', rules }] }));
      const { exitCode, all } = await execa(PROMTOOL, ['check', 'rules', join(dir, 'rules.yml')], {
        reject: false,
        all: true,
      });
      expect(exitCode, all).toBe(0);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
