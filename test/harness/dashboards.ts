/** The dashboards and alerts of deploy/ for tests: what each asks Prometheus for. Knows nothing of what Prometheus answers. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findRoot } from '@berth/deploy/setup/root.js';

export interface Asked {
  /** File and title of the panel, or name of the alert. */
  readonly where: string;
  readonly expr: string;
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly options?: { readonly legend?: Readonly<Record<string, unknown>> };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly expr: string; readonly refId: string; readonly legendFormat: string }[];
}

export interface Dashboard {
  readonly file: string;
  readonly uid: string;
  readonly links: readonly Readonly<Record<string, unknown>>[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly Panel[];
}

export function dashboards(): readonly Dashboard[] {
  const dir = join(findRoot(), 'deploy/grafana');
  const files = readdirSync(dir).filter((file) => file.endsWith('.json'));
  return files.map((file) => ({ ...(JSON.parse(readFileSync(join(dir, file), 'utf8')) as Dashboard), file }));
}

export const askedByPanels = (): readonly Asked[] =>
  dashboards().flatMap(({ file, panels }) =>
    panels.flatMap((p) => (p.targets ?? []).map(({ expr }) => ({ where: `${file}: ${p.title}`, expr }))),
  );

const rules = (): string => readFileSync(join(findRoot(), 'deploy/prometheus/berth-alerts.yml'), 'utf8');

export const askedByAlerts = (): readonly Asked[] =>
  [...rules().matchAll(/alert: (\w+)\n +expr: (.+)\n/g)].map(([, where = '', expr = '']) => ({ where, expr }));

/** The rules as a file in `dir` that has each alert come within seconds. @returns its path. */
export function hastyAlerts(dir: string): string {
  const file = join(dir, 'hasty-alerts.yml');
  writeFileSync(file, rules().replaceAll(/^( +for): \w+$/gm, '$1: 1s'));
  return file;
}

/** As Grafana would send it, with everything chosen. @param interval as `30s` */
export const chosen = (expr: string, interval: string): string =>
  expr.replaceAll('$__rate_interval', interval).replaceAll(/\$(host|vm)\b/g, '.*');
