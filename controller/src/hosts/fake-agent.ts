/**
 * An agent for the tests of the controller: real TLS and gRPC, no host behind it. It watches, remembers the operations
 * asked of it and answers as it is told. Not for production and not a simulation of a host.
 */
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  status as Status,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { type DomainPower, DomainServiceService } from '@berth/proto/agent/v1/domain.ts';
import type { ConsoleInput, ConsoleOutput, DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import { ImageServiceService, type UploadRequest, type UploadResponse } from '@berth/proto/agent/v1/image.ts';
import {
  OperationServiceService,
  OperationState,
  Operation,
  type CancelOperationRequest,
  type Fence,
} from '@berth/proto/agent/v1/operation.ts';
import { PowerServiceService } from '@berth/proto/agent/v1/power.ts';
import { VolumeServiceService } from '@berth/proto/agent/v1/volume.ts';
import {
  type SetStatisticsIntervalRequest,
  type WatchMessage,
  WatchServiceService,
  type WatchRequest,
} from '@berth/proto/agent/v1/watch.ts';
import { systemClock, type Timer } from '@berth/shared/runtime/clock.ts';
import { HostReport } from '@berth/proto/agent/v1/host.ts';

type Message = NonNullable<WatchMessage['message']>;
interface Context {
  readonly context?: { readonly operationId: string; readonly fence?: Fence | undefined } | undefined;
}

/** A promise: it answers when that resolves. */
type Answering = (operationId: string) => Partial<Operation> | Error | Promise<Partial<Operation>>;

export interface FakeAgentTls {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

export const GIB = 2 ** 30;

export class FakeAgent {
  readonly calls: { readonly method: string; readonly operationId: string; readonly fence: Fence | undefined }[] = [];
  /** Without their runs of zeros. */
  readonly uploads: Buffer[] = [];
  readonly runsOfZeros: number[] = [];
  domains: DomainStatus[] = [];
  /** Bridges that it has, by name: told in each snapshot. */
  bridges: string[] = [];
  /** What it still keeps when a snapshot is asked for. */
  operations: Operation[] = [];
  version = '0.1.0';
  capabilities = [
    'image.fetch',
    'serial-log',
    'console',
    'domain.describe',
    'domain.hardware',
    'domain.power',
    'domain.save',
    'domain.input',
    'domain.screenshot',
  ];
  /** Changes every message that it sends, as bytes: what a newer version might say. */
  disguise: ((bytes: Buffer) => Buffer) | undefined;
  sources = ['domains', 'volumes', 'images', 'bridges'];
  /** What operations answer: by the method's name, or success. */
  readonly answers = new Map<string, Answering>();
  /** Where it says that an image can be had from it, and with which ticket; undefined: from nobody. */
  exports: { readonly ticket: string; readonly address: string } | undefined;
  serialLog = 'hello from the guest\n';
  silent = false;
  /** Its snapshots never end. */
  endless = false;
  watchError: { code: Status; details: string; reason?: string } | undefined;
  watches = 0;
  /** How often statistics were wanted, since it began. */
  readonly intervals: number[] = [];
  refuseInterval: { code: Status; details: string } | undefined;
  port = 0;
  private seq = 0n;
  private server: Server | undefined;
  private stream: ServerWritableStream<WatchRequest, WatchMessage> | undefined;
  private heart: Timer | undefined;

  constructor(
    readonly hostId: string,
    private readonly tls: FakeAgentTls,
  ) {}

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const server = new Server();
    server.addService(this.disguised(WatchServiceService), {
      watch: (call: ServerWritableStream<WatchRequest, WatchMessage>) => this.watch(call),
      setStatisticsInterval: (
        call: ServerUnaryCall<SetStatisticsIntervalRequest, object>,
        done: sendUnaryData<object>,
      ) => {
        this.intervals.push(Number(call.request.intervalMs));
        const refused = this.refuseInterval;
        if (refused === undefined) done(null, {});
        else done(refused);
      },
    });
    server.addService(this.disguised(DomainServiceService), { ...this.domainCalls() });
    server.addService(PowerServiceService, {
      rebootDomain: this.operation('rebootDomain'),
      resetDomain: this.operation('resetDomain'),
      suspendDomain: this.operation('suspendDomain'),
      resumeDomain: this.operation('resumeDomain'),
      saveDomain: this.operation('saveDomain'),
      discardSaved: this.operation('discardSaved'),
      injectNmi: this.operation('injectNmi'),
      sendKeys: this.operation('sendKeys'),
      takeScreenshot: (call: ServerWritableStream<unknown, { data: Uint8Array }>) => {
        call.write({ data: Buffer.from('PNG') });
        call.end();
      },
    });
    server.addService(this.disguised(VolumeServiceService), {
      ensureVolume: this.operation('ensureVolume'),
      ensureSeed: this.operation('ensureSeed'),
      customizeVolume: this.operation('customizeVolume'),
      removeVolume: this.operation('removeVolume'),
      listVolumes: refuse,
    });
    server.addService(this.disguised(ImageServiceService), {
      upload: (call: ServerReadableStream<UploadRequest, UploadResponse>, done: sendUnaryData<UploadResponse>) =>
        this.upload(call, done),
      importImage: this.operation('importImage'),
      fetchImage: this.operation('fetchImage'),
      removeImage: this.operation('removeImage'),
      offerSource: (_: unknown, done: sendUnaryData<object>) => done(null, {}),
      openExport: (q: unknown, done: sendUnaryData<object>) =>
        this.exports ? done(null, this.exports) : refuse(q, done as sendUnaryData<never>),
      listImages: refuse,
    });
    server.addService(this.disguised(OperationServiceService), {
      getOperation: refuse,
      cancelOperation: (call: ServerUnaryCall<CancelOperationRequest, Operation>, done: sendUnaryData<Operation>) => {
        this.calls.push({
          method: 'cancelOperation',
          operationId: call.request.operationId,
          fence: call.request.fence,
        });
        done(null, Operation.fromPartial({ id: call.request.operationId, state: OperationState.CANCELLED }));
      },
      acknowledgeOperations: (_: unknown, done: sendUnaryData<object>) => done(null, {}),
    });
    const credentials = ServerCredentials.createSsl(
      Buffer.from(this.tls.caPem),
      [{ private_key: Buffer.from(this.tls.keyPem), cert_chain: Buffer.from(this.tls.certificatePem) }],
      true,
    );
    this.port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(`127.0.0.1:${this.port}`, credentials, (e, port) => (e ? reject(e) : resolve(port))),
    );
    this.server = server;
    this.beat();
  }

  private disguised<D extends ServiceDefinition>(definition: D): D {
    const { disguise } = this;
    if (disguise === undefined) return definition;
    const methods = Object.entries(definition).map(([name, m]) => {
      const responseSerialize = (v: never): Buffer => disguise(m.responseSerialize(v));
      return [name, { ...m, responseSerialize }];
    });
    return Object.fromEntries(methods) as D;
  }

  private beat(): void {
    if (!this.silent) this.send({ $case: 'heartbeat', value: {} });
    this.heart = systemClock.after(500, () => this.beat());
  }

  /** As if its process had been killed. */
  stop(): void {
    this.heart?.cancel();
    this.stream = undefined;
    this.server?.forceShutdown();
  }

  send(message: Message, skip = 0n): void {
    this.seq += 1n + skip;
    this.stream?.write({ seq: this.seq, message });
  }

  /** Breaks the watch stream only. */
  breakWatch(): void {
    this.stream?.end();
    this.stream = undefined;
  }

  setPower(uuid: string, power: DomainPower, reason: string): void {
    this.domains = this.domains.map((d) => (d.uuid === uuid ? { ...d, power, reason } : d));
    const domain = this.domains.find((d) => d.uuid === uuid);
    if (domain) this.send({ $case: 'domain', value: domain });
  }

  private watch(call: ServerWritableStream<WatchRequest, WatchMessage>): void {
    this.watches++;
    this.calls.push({ method: 'watch', operationId: '', fence: call.request.fence });
    if (this.watchError) {
      const metadata = new Metadata();
      if (this.watchError.reason) metadata.set('berth-reason', this.watchError.reason);
      call.emit('error', { ...this.watchError, metadata });
      return;
    }
    this.stream = call;
    if (this.silent) return;
    const begin = { hostId: this.hostId, hostBootId: 'boot-1', agentInstanceId: 'run-1' };
    this.send({ $case: 'begin', value: begin });
    this.send({ $case: 'host', value: this.report() });
    for (const value of this.domains) this.send({ $case: 'domain', value });
    for (const value of this.operations) this.send({ $case: 'operation', value });
    for (const name of this.bridges)
      this.send({ $case: 'bridge', value: { name, up: true, ports: [], addresses: [], owned: false } });
    if (!this.endless) this.send({ $case: 'end', value: { sources: { complete: this.sources } } });
  }

  private report(): HostReport {
    return HostReport.fromPartial({
      hostname: this.hostId,
      cpuThreads: 8,
      memoryBytes: BigInt(16 * GIB),
      diskBytes: BigInt(100 * GIB),
      diskFreeBytes: BigInt(80 * GIB),
      domainType: 'qemu',
      bootId: 'boot-1',
      peerAddress: '127.0.0.1:7445',
      agentVersion: this.version,
      capabilities: this.capabilities,
    });
  }

  private domainCalls() {
    return {
      ensureDomain: this.operation('ensureDomain'),
      startDomain: this.operation('startDomain'),
      shutdownDomain: this.operation('shutdownDomain'),
      forceOffDomain: this.operation('forceOffDomain'),
      removeDomain: this.operation('removeDomain'),
      listDomains: refuse,
      readSerialLog: (call: ServerWritableStream<unknown, { data: Uint8Array }>) => {
        call.write({ data: Buffer.from(this.serialLog) });
        call.end();
      },
      openConsole: (call: ServerDuplexStream<ConsoleInput, ConsoleOutput>) => {
        call.on('data', (m: ConsoleInput) => {
          if (m.message?.$case === 'data') call.write({ data: m.message.value });
        });
        call.on('end', () => call.end());
      },
    };
  }

  private operation(method: string) {
    return async (call: ServerUnaryCall<Context, Operation>, done: sendUnaryData<Operation>) => {
      const operationId = call.request.context?.operationId ?? '';
      this.calls.push({ method, operationId, fence: call.request.context?.fence });
      const answer = await this.answers.get(method)?.(operationId);
      if (answer instanceof Error) return done(answer);
      done(null, Operation.fromPartial({ id: operationId, state: OperationState.SUCCEEDED, ...answer }));
    };
  }

  private upload(call: ServerReadableStream<UploadRequest, UploadResponse>, done: sendUnaryData<UploadResponse>): void {
    const chunks: Uint8Array[] = [];
    call.on('data', (m: UploadRequest) => {
      if (m.message?.$case === 'data') chunks.push(m.message.value);
      if (m.message?.$case === 'zeros') this.runsOfZeros.push(Number(m.message.value));
    });
    call.on('end', () => {
      const all = Buffer.concat(chunks);
      this.uploads.push(all);
      done(null, { receivedBytes: BigInt(all.length) });
    });
    call.on('error', () => undefined);
  }
}

const refuse = (_: unknown, done: sendUnaryData<never>): void =>
  done({ code: Status.NOT_FOUND, details: 'the fake agent has none' });
