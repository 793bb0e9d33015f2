/** Prometheus' own programs for tests: promtool, and a server that scrapes and answers queries until the test ends. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, it } from 'vitest';
import { labRequired } from '@berth/deploy/lab/config.ts';
import { unpackedTool } from '@berth/deploy/setup/unpacked.js';
import { eventually } from './processes.ts';

export const PROMTOOL = unpackedTool('prometheus', 'promtool');
const PROMETHEUS = unpackedTool('prometheus', 'prometheus');

/** `npm test` unpacks it; elsewhere the suite is skipped and says so. */
export function describeWithPrometheus(title: string, suite: () => void): void {
  if (existsSync(PROMTOOL)) describe(title, suite);
  else if (!labRequired()) describe.skip(`${title} (skipped: no promtool; npm test unpacks it)`, suite);
  else
    describe(title, () => {
      it('has promtool', () => {
        throw new Error(`${PROMTOOL} is missing`);
      });
    });
}

/** What `promtool check metrics` has to say against a text; empty: nothing. */
export async function checkMetrics(text: string): Promise<string> {
  const { exitCode, stdout, stderr } = await execa(PROMTOOL, ['check', 'metrics'], { input: text, reject: false });
  return exitCode === 0 && stderr === '' ? '' : `${stdout}${stderr}`;
}

interface Result {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

export class Prometheus {
  private constructor(
    private readonly process: ChildProcess,
    private readonly base: string,
    /** What it complained of so far. */
    readonly said: () => string,
  ) {}

  /** @param config its prometheus.yml. */
  static async start(dir: string, port: number, config: string): Promise<Prometheus> {
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'prometheus.yml'), config);
    const args = [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ];
    const child = spawn(PROMETHEUS, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr?.on('data', (d: Buffer) => (said += d.toString()));
    const server = new Prometheus(child, `http://127.0.0.1:${port}`, () => said);
    await eventually('Prometheus is ready', async () => {
      if (child.exitCode !== null) return true;
      return (await fetch(`${server.base}/-/ready`)).ok || undefined;
    });
    if (child.exitCode !== null) throw new Error(said);
    return server;
  }

  async query(expr: string): Promise<readonly Result[]> {
    const answer = await fetch(`${this.base}/api/v1/query?query=${encodeURIComponent(expr)}`);
    const body = (await answer.json()) as { data?: { result: Result[] }; error?: string };
    if (body.data === undefined) throw new Error(`${expr}: ${body.error ?? answer.status}`);
    return body.data.result;
  }

  /** Active targets: the URL that is scraped, and how that went. */
  async targets(): Promise<
    readonly { readonly scrapeUrl: string; readonly health: string; readonly lastError: string }[]
  > {
    const body = (await (await fetch(`${this.base}/api/v1/targets`)).json()) as {
      data: { activeTargets: { scrapeUrl: string; health: string; lastError: string }[] };
    };
    return body.data.activeTargets;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
  }
}
