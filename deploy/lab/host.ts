/**
 * One lab host: run things on it, start and stop its agent, and break it in the ways real hosts break. It works on any
 * container of a lab, also on one that another process started.
 */
import { writeFile } from 'node:fs/promises';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { Container, Docker } from './engine.ts';
import { tolerate } from './engine.ts';
import type { ExecResult, RawExecResult } from './exec.ts';
import { execDetached, execIn } from './exec.ts';
import { READY_SOCKET } from './host-container.ts';
import { Shells } from './shells.ts';
import { THREAD_STATES, threadsAfter } from './signals.ts';

const AGENT_PID = '/run/berth-agent.pid';
export const AGENT_LOG = '/var/log/berth-agent.log';
const AGENT = '/opt/berth/agent/bin/berth-agent.js';
const HOLD_LIBVIRT = '/run/berth-hold-libvirtd';

export interface HostIdentity {
  readonly name: string;
  /** Reachable from this machine; the other hosts of the lab may also use the name. Stays the same for the host's life. */
  readonly address: string;
  readonly network: string;
}

export class LabHost {
  readonly name: string;
  readonly address: string;
  readonly #container: Container;
  readonly #docker: Docker;
  readonly #network: string;
  readonly #shells: Shells;

  constructor(docker: Docker, container: Container, identity: HostIdentity) {
    this.#docker = docker;
    this.#container = container;
    this.name = identity.name;
    this.address = identity.address;
    this.#network = identity.network;
    this.#shells = new Shells(container);
  }

  async exec(argv: readonly string[], options: { input?: string | Buffer } = {}): Promise<ExecResult> {
    const { exitCode, stdout, stderr } = await this.#raw(argv, options.input);
    return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
  }

  /** Like `exec`, but a failing program throws with its own words. Answers its standard output. */
  async run(argv: readonly string[], options: { input?: string | Buffer } = {}): Promise<string> {
    return (await this.#bytes(argv, options.input)).toString();
  }

  /** `virsh` on the host's own libvirt; throws with virsh's words when it fails. */
  async virsh(argv: readonly string[]): Promise<string> {
    return (await this.run(['virsh', '-q', ...argv])).trim();
  }

  /** Runs a `berth-agent` command such as `enroll`, with `input` on its standard input. */
  agentCommand(argv: readonly string[], options: { input?: string | Buffer } = {}): Promise<ExecResult> {
    return this.exec([AGENT, ...argv], options);
  }

  /** Starts `berth-agent run` in the background, unless it runs. Its output goes to AGENT_LOG on the host. */
  async startAgent(argv: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<number> {
    const running = await this.agentPid();
    if (running !== undefined) return running;
    const script = `echo $$ >${AGENT_PID}; exec env "$@" >>${AGENT_LOG} 2>&1`;
    await this.run(['rm', '-f', AGENT_PID]);
    const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    await execDetached(this.#container, ['sh', '-c', script, 'agent', ...settings, AGENT, 'run', ...argv]);
    return this.#until(`${this.name}: the agent does not start, see ${AGENT_LOG}`, 10_000, async () => {
      const { stdout } = await this.exec(['cat', AGENT_PID]);
      return Number(stdout) || undefined;
    });
  }

  /** Sends `signal` to the agent and waits until it is gone. No agent is fine. */
  async stopAgent(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const pid = await this.agentPid();
    if (pid === undefined) return;
    await this.#signal([pid], signal, `the agent (see ${AGENT_LOG})`);
  }

  /** The agent's process id inside the host, or undefined when it does not run. */
  async agentPid(): Promise<number | undefined> {
    const script = `read -r p <${AGENT_PID} && grep -qz berth-agent /proc/$p/cmdline && echo $p`;
    const { stdout } = await this.exec(['sh', '-c', script]);
    return Number(stdout) || undefined;
  }

  async agentLog(): Promise<string> {
    return (await this.exec(['cat', AGENT_LOG])).stdout;
  }

  /** Process ids whose command line matches a regular expression. */
  async pids(pattern: string): Promise<number[]> {
    const { stdout } = await this.exec(['pgrep', '-f', pattern]);
    return stdout.split('\n').map(Number).filter(Boolean);
  }

  /**
   * Signals every process whose command line matches, and waits until each is what the signal makes of it: gone, or stopped.
   * Answers how many there were.
   */
  async kill(pattern: string, signal: NodeJS.Signals): Promise<number> {
    const pids = await this.pids(pattern);
    await this.#signal(pids, signal, pattern);
    return pids.length;
  }

  /** Whether the host is switched on. */
  async running(): Promise<boolean> {
    return (await this.#container.inspect()).State.Running;
  }

  async libvirtPid(): Promise<number | undefined> {
    const { stdout } = await this.exec(['pidof', 'libvirtd']);
    return Number(stdout.trim().split(' ')[0]) || undefined;
  }

  /**
   * Kills libvirtd, and waits until it is gone. It comes back by itself, as another process, within a second, unless it is held
   * down. Guests go on running.
   */
  async killLibvirt(options: { hold?: boolean } = {}): Promise<void> {
    if (options.hold) await this.run(['touch', HOLD_LIBVIRT]);
    const pid = await this.libvirtPid();
    if (pid !== undefined) await this.#signal([pid], 'SIGKILL', 'libvirtd');
  }

  /** Lets a libvirtd that was held down come back, and waits for it. */
  async releaseLibvirt(): Promise<void> {
    await this.run(['rm', '-f', HOLD_LIBVIRT]);
    await this.waitForLibvirt();
  }

  async waitForLibvirt(): Promise<void> {
    await this.#until(`${this.name}: libvirt does not answer`, 60_000, async () => {
      const { exitCode } = await this.exec(['virsh', '-q', 'uri']);
      return exitCode === 0 ? true : undefined;
    });
  }

  /** Freezes every process of the host: it is silent, but its connections stay. */
  pause(): Promise<void> {
    this.#shells.drop();
    return tolerate([409], () => this.#container.pause());
  }

  /** One that was frozen just now may refuse it for a moment. A host that is not frozen is fine. */
  async unpause(): Promise<void> {
    await this.#until(`${this.name} stays frozen`, 30_000, async () => {
      await tolerate([409, 500], () => this.#container.unpause());
      return (await this.#container.inspect()).State.Paused ? undefined : true;
    });
  }

  /**
   * Sends no more than so much to other machines (TBF on its network card), until it restarts. With CUBIC, as Debian does: this
   * machine's kernel may have another default, and BBR leaves a twentieth of a link unused that has no way to speak of.
   */
  async limitSending(bytesPerSecond: number): Promise<void> {
    const rate = ['rate', bits(bytesPerSecond), 'burst', '128kb', 'latency', '100ms'];
    await this.#shape('qdisc', 'replace', 'root', 'tbf', ...rate);
    await this.#useCubic();
  }

  /** The same, and less than that to one machine: what a slow way to that one is. */
  async limitSendingTo(address: string, bytesPerSecond: number, toOthers: number): Promise<void> {
    await this.exec(['tc', 'qdisc', 'del', 'dev', 'eth0', 'root']);
    await this.#shape('qdisc', 'add', 'root', 'handle', '1:', 'htb', 'default', '10');
    for (const [id, rate] of [
      ['10', toOthers],
      ['20', bytesPerSecond],
    ] as const) {
      const kind = ['classid', `1:${id}`, 'htb', 'rate', bits(rate), 'burst', '128kb'];
      const queue = ['bfifo', 'limit', String(Math.max(131_072, Math.round(rate / 10)))];
      await this.#shape('class', 'add', 'parent', '1:', ...kind);
      await this.#shape('qdisc', 'add', 'parent', `1:${id}`, ...queue);
    }
    const to = ['protocol', 'ip', 'u32', 'match', 'ip', 'dst', `${address}/32`, 'flowid', '1:20'];
    await this.#shape('filter', 'add', 'parent', '1:', ...to);
    await this.#useCubic();
  }

  async #shape(what: 'qdisc' | 'class' | 'filter', does: 'add' | 'replace', ...more: readonly string[]): Promise<void> {
    await this.run(['tc', what, does, 'dev', 'eth0', ...more]);
  }

  async #useCubic(): Promise<void> {
    // a container may say it of a route only
    const [link] = (await this.run(['ip', '-4', '-o', 'route', 'show', 'dev', 'eth0', 'scope', 'link'])).split(/\s+/);
    await this.run(['ip', 'route', 'replace', link!, 'dev', 'eth0', 'congctl', 'cubic']);
  }

  /** Bytes that its network card has sent since it was plugged in. */
  async sentBytes(): Promise<number> {
    return Number(await this.readFile('/sys/class/net/eth0/statistics/tx_bytes'));
  }

  /** Pulls the network cable. */
  disconnect(): Promise<void> {
    const network = this.#docker.getNetwork(this.#network);
    return tolerate([403, 404], () => network.disconnect({ Container: this.#container.id, Force: true }));
  }

  /** Plugs the cable in again: same name, same address. */
  connect(): Promise<void> {
    const endpoint = { Aliases: [this.name], IPAMConfig: { IPv4Address: this.address } };
    const network = this.#docker.getNetwork(this.#network);
    return tolerate([403], () => network.connect({ Container: this.#container.id, EndpointConfig: endpoint }));
  }

  /** Pulls the power cord: everything on the host dies at once; disks stay. */
  async crash(): Promise<void> {
    this.#shells.drop();
    await tolerate([409], () => this.#container.kill());
    await this.#until(`${this.name}: the container does not end`, 30_000, async () =>
      (await this.running()) ? undefined : true,
    );
  }

  /** Boots a crashed host, or crashes and boots a running one. The agent is not started. */
  async restart(): Promise<void> {
    await this.unpause();
    await this.crash();
    await this.#container.start();
    await this.#until(`${this.name}: libvirt does not come up`, 60_000, async () =>
      (await this.exec(['test', '-S', READY_SOCKET])).exitCode === 0 ? true : undefined,
    );
  }

  /**
   * A path by which a process of this machine reaches a file or UNIX socket of the host; root on the engine's own machine
   * only. Good until the host reboots.
   */
  async pathFromOutside(path: string): Promise<string> {
    const { State } = await this.#container.inspect();
    if (!State.Running) throw new Error(`${this.name} is down`);
    return `/proc/${State.Pid}/root${path}`;
  }

  async readFile(path: string): Promise<string> {
    return (await this.#bytes(['cat', path])).toString();
  }

  async writeFile(path: string, content: string | Buffer): Promise<void> {
    await this.#bytes(['sh', '-c', 'mkdir -p "$(dirname "$1")" && cat >"$1"', 'write', path], content);
  }

  /** Copies a file of this machine onto the host. */
  async copyIn(localPath: string, path: string): Promise<void> {
    const { readFile } = await import('node:fs/promises');
    await this.writeFile(path, await readFile(localPath));
  }

  async copyOut(path: string, localPath: string): Promise<void> {
    await writeFile(localPath, await this.#bytes(['cat', path]));
  }

  /** Sends a signal and waits until it has done its work, which is soon after, not at once. A process that has ended is fine. */
  async #signal(pids: readonly number[], signal: NodeJS.Signals, who: string): Promise<void> {
    if (pids.length === 0) return;
    await this.exec(['kill', `-${signal.replace(/^SIG/, '')}`, ...pids.map(String)]);
    const wanted = threadsAfter(signal);
    if (wanted === undefined) return;
    await this.#until(`${this.name}: ${signal} does not work on ${who}`, 30_000, async () => {
      const states = (await this.exec(['sh', '-c', THREAD_STATES, 'states', ...pids.map(String)])).stdout;
      return [...states].every((state) => wanted.includes(state)) || undefined;
    });
  }

  #raw(argv: readonly string[], input?: string | Buffer): Promise<RawExecResult> {
    return input === undefined ? this.#shells.run(argv) : execIn(this.#container, argv, input);
  }

  async #bytes(argv: readonly string[], input?: string | Buffer): Promise<Buffer> {
    const { exitCode, stdout, stderr } = await this.#raw(argv, input);
    if (exitCode === 0) return stdout;
    const words = `${stderr.toString()}${stdout.toString()}`.trim();
    throw new Error(`${this.name}: ${argv.join(' ')} ended with ${exitCode}: ${words}`);
  }

  async #until<T>(failure: string, deadlineMs: number, look: () => Promise<T | undefined>): Promise<T> {
    const deadline = systemClock.monotonic() + deadlineMs;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (systemClock.monotonic() > deadline) throw new Error(failure);
      await systemClock.sleep(50);
    }
  }
}

const bits = (bytesPerSecond: number): string => `${Math.round(bytesPerSecond * 8)}bit`;
