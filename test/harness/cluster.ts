/**
 * A whole Berth for tests: one real controller process, its hosts (simulated agents as processes, or lab hosts with the
 * real agent), and the `berth` command as an operator has it. Everything goes over the wire; nothing is reached into.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { decodeLoginLine, encodeLoginLine } from '@berth/shared/trust/lines.ts';
import { lookWith } from './looks.ts';
import { Ports } from './ports.ts';
import {
  Daemon,
  eventually,
  isLook,
  PROGRAMS,
  run,
  temporaryDirectory,
  type RunOptions,
  type Said,
} from './processes.ts';

const PORTS = Ports.ofThisProcess();

export interface ClusterOptions {
  /** YAML of the controller's configuration. */
  readonly config?: string;
  /** Made ready before `init`: its empty data directory. */
  readonly prepare?: (dataDir: string) => Promise<unknown>;
  /** Environment of the controller. */
  readonly env?: Readonly<Record<string, string>>;
}

export class Cluster {
  readonly controller: Daemon;
  readonly agents = new Map<string, Daemon>();
  readonly dataDir: string;
  readonly configFile: string;
  private readonly controllerArgs: readonly string[];

  private constructor(
    readonly dir: string,
    /** host:port of the gRPC API. */
    readonly address: string,
    /** host:port of the JSON API. */
    readonly httpAddress: string,
    private readonly removeDir: () => void,
    o: ClusterOptions,
    dataDir = join(dir, 'controller'),
  ) {
    this.dataDir = dataDir;
    this.configFile = join(dir, 'config.yaml');
    const controllerConfig = join(dir, 'controller.yaml');
    writeFileSync(controllerConfig, o.config ?? '{}\n');
    this.controllerArgs = ['--config', controllerConfig, '--data-dir', this.dataDir];
    this.controller = this.controllerAs(o.env);
  }

  /** Another process of the same controller, for when the usual one is down. */
  controllerAs(env: Readonly<Record<string, string>> = {}): Daemon {
    const listen = ['--listen', this.address, '--http-listen', this.httpAddress];
    return new Daemon(PROGRAMS.controller, ['run', ...this.controllerArgs, ...listen], env);
  }

  /** Initialises and starts a controller that listens on `host`, and logs in. */
  static async start(host = '127.0.0.1', o: ClusterOptions = {}): Promise<Cluster> {
    const { path, remove } = temporaryDirectory();
    const [grpc, https] = [await freePort(host), await freePort(host)];
    const cluster = new Cluster(path, `${host}:${grpc}`, `${host}:${https}`, remove, o);
    if (o.prepare) mkdirSync(cluster.dataDir);
    await o.prepare?.(cluster.dataDir);
    const init = await run(PROGRAMS.controller, ['init', ...cluster.controllerArgs, '--address', cluster.address]);
    if (init.code !== 0) throw new Error(`berth-controller init: ${init.err}`);
    cluster.controller.start();
    await cluster.login();
    return cluster;
  }

  /** A controller over a data directory that is there already, with the login line of its administrator. */
  static async over(dataDir: string): Promise<Cluster> {
    const { path, remove } = temporaryDirectory();
    const host = '127.0.0.1';
    const [grpc, https] = [await freePort(host), await freePort(host)];
    const cluster = new Cluster(path, `${host}:${grpc}`, `${host}:${https}`, remove, {}, dataDir);
    const line = decodeLoginLine(readFileSync(join(dataDir, 'admin-token'), 'utf8'));
    const file = join(path, 'admin-token');
    writeFileSync(file, `${encodeLoginLine({ ...line, controller: cluster.address })}\n`);
    cluster.controller.start();
    await cluster.login(file);
    return cluster;
  }

  /** A controller that somebody else started and will end, with the login line of its administrator. */
  static async elsewhere(address: string, loginLine: string): Promise<Cluster> {
    const { path, remove } = temporaryDirectory();
    const cluster = new Cluster(path, address, '', remove, {});
    const file = join(path, 'admin-token');
    writeFileSync(file, loginLine);
    const r = await cluster.berth('login', '--token-file', file);
    if (r.code === 0) return cluster;
    remove();
    throw new Error(r.err);
  }

  private async login(file = join(this.dataDir, 'admin-token')): Promise<void> {
    await eventually('login', async () => {
      if (!this.controller.running) throw new Error(this.controller.output);
      const r = await this.berth('login', '--token-file', file);
      if (r.code !== 0) throw new Error(r.err);
      return true;
    });
  }

  /** Runs `berth` as the first administrator; where somebody looks again and again, without a process of its own. */
  berth(...args: readonly string[]): Promise<Said> {
    return isLook() ? lookWith(this.configFile, args) : this.berthWith({}, ...args);
  }

  berthWith(o: RunOptions, ...args: readonly string[]): Promise<Said> {
    return run(PROGRAMS.berth, args, { ...o, env: { BERTH_CONFIG: this.configFile, ...o.env } });
  }

  /** The same on a terminal, where it may ask: `keys` are typed. Both outputs are one, with line ends as terminals have them. */
  async berthOnTerminal(keys: string, ...args: readonly string[]): Promise<string> {
    const command = [process.execPath, PROGRAMS.berth, ...args].map((w) => `'${w}'`).join(' ');
    const r = await execa('script', ['-qefc', command, '/dev/null'], {
      ...{ input: keys, reject: false, timeout: 60_000, killSignal: 'SIGKILL' },
      env: { BERTH_CONFIG: this.configFile },
    });
    return r.stdout.replaceAll('\r\n', '\n');
  }

  /** Runs `berth` and throws its words when it fails. Answers standard output. */
  async ok(...args: readonly string[]): Promise<string> {
    return outOf(args, await this.berth(...args));
  }

  /** What `-o json` prints, parsed. A test asks so what has become of things, and needs no process for that. */
  async json<T = Record<string, unknown>[]>(...args: readonly string[]): Promise<T> {
    const asked = [...args, '-o', 'json'];
    return JSON.parse(outOf(asked, await lookWith(this.configFile, asked))) as T;
  }

  async joinToken(name: string, address: string): Promise<string> {
    return this.ok('host', 'add', name, address);
  }

  /** Adds, enrols and starts a simulated host. @param invite makes its join token: `berth host add`, unless told otherwise. */
  async addSimulated(
    name: string,
    invite: (name: string, address: string) => Promise<string> = this.joinToken.bind(this),
    env: Readonly<Record<string, string>> = {},
    more = '',
  ): Promise<void> {
    const dir = join(this.dir, name);
    mkdirSync(dir, { recursive: true });
    const [port, peerPort] = [await freePort('127.0.0.1'), await freePort('127.0.0.1')];
    const config = join(dir, 'agent.yaml');
    writeFileSync(config, `dataDir: ${dir}\nlisten: 127.0.0.1:${port}\npeerListen: 127.0.0.1:${peerPort}\n${more}`);
    const token = await invite(name, `127.0.0.1:${port}`);
    const enrolled = await run(PROGRAMS.agent, ['enroll', '--config', config], { input: token });
    if (enrolled.code !== 0) throw new Error(`enroll ${name}: ${enrolled.err}`);
    const agent = new Daemon(PROGRAMS.agent, ['run', '--simulate', '--config', config], env);
    this.agents.set(name, agent);
    agent.start();
  }

  /** Adds, enrols and starts the agent of a lab host. */
  async addLabHost(host: LabHost, more = ''): Promise<void> {
    await host.writeFile('/etc/berth/agent.yaml', `domainType: qemu\n${more}`);
    const token = await this.joinToken(host.name, `${host.address}:7444`);
    const enrolled = await host.agentCommand(['enroll'], { input: token });
    if (enrolled.exitCode !== 0) throw new Error(`enroll ${host.name}: ${enrolled.stderr}`);
    await host.startAgent();
  }

  async hostState(name: string): Promise<string> {
    const [host] = await this.json<{ name: string; state: string }[]>('host', 'list').then((all) =>
      all.filter((h) => h.name === name),
    );
    return host?.state ?? 'absent';
  }

  async waitUp(...names: readonly string[]): Promise<void> {
    await eventually(
      `${names.join(' ')} up`,
      async () => {
        const hosts = await this.json<{ name: string; state: string; stateReason: string }[]>('host', 'list');
        const down = names.filter((n) => hosts.find((h) => h.name === n)?.state !== 'up');
        if (down.length > 0) throw new Error(JSON.stringify(hosts.map((h) => [h.name, h.state, h.stateReason])));
        return true;
      },
      60_000,
    );
  }

  /** The serial log of a VM, once it matches. */
  async serial(vm: string, pattern: RegExp, deadlineMs = 120_000): Promise<string> {
    return eventually(
      `${vm} says ${pattern.source}`,
      async () => {
        const { out, err } = await this.berth('vm', 'log', vm);
        if (pattern.test(out)) return out;
        throw new Error(`so far: ${JSON.stringify(out.slice(-500))} ${err}`);
      },
      deadlineMs,
    );
  }

  /** A copy of an image that has some bytes on its new host, but not all. */
  async midTransfer(kind = 'image.fetch'): Promise<void> {
    interface Job {
      readonly kind: string;
      readonly steps: { readonly progressDoneBytes: number }[];
    }
    await eventually(
      'a transfer is in its middle',
      async () => {
        const open = await this.json<Job[]>('job', 'list', '--open');
        return open.some((j) => j.kind === kind && j.steps.some((s) => s.progressDoneBytes > 0)) || undefined;
      },
      60_000,
    );
  }

  /** No job is open and none is stuck. */
  async quiet(deadlineMs = 60_000): Promise<void> {
    await eventually(
      'no open job',
      async () => {
        const open = await this.json<{ id: string; kind: string; state: string; waitReason: string }[]>(
          'job',
          'list',
          '--open',
        );
        if (open.length > 0) throw new Error(JSON.stringify(open.map((j) => [j.kind, j.state, j.waitReason])));
        return true;
      },
      deadlineMs,
    );
  }

  async stop(): Promise<void> {
    await Promise.all([...this.agents.values(), this.controller].map((d) => d.end('SIGKILL')));
    this.removeDir();
  }
}

function outOf(args: readonly string[], r: Said): string {
  if (r.code !== 0) throw new Error(`berth ${args.join(' ')} → ${r.code}: ${r.err}${r.out}`);
  return r.out;
}

export const freePort = (host: string): Promise<number> => PORTS.free(host);
