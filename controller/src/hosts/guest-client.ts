/** What the controller asks of the guests of one host, over gRPC: encode, call, decode. Each once; nothing is tried again. */
import type { ClientReadableStream, ServiceError } from '@grpc/grpc-js';
import {
  GuestServiceService as Guests,
  type RunInGuestRequest,
  type RunInGuestResponse,
} from '@berth/proto/agent/v1/guest.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { DomainRef } from './agent-client.ts';
import type { Connection, Method } from './connection.ts';
import type { FenceSource } from './fence.ts';
import { toGuest, toOffset } from './guest-decode.ts';
import { tame } from './limits.ts';

/** A host gives a guest a minute for its slowest work, a freeze. */
const TIMEOUT_MS = 120_000;

export interface GuestClientOptions {
  readonly name: () => string;
  readonly connection: () => Connection | undefined;
  readonly fence: FenceSource;
}

export type GuestNews = NonNullable<RunInGuestResponse['message']>;
export type GuestProgram = Pick<RunInGuestRequest, 'program' | 'arguments' | 'environment' | 'input' | 'timeoutMs'>;

export class GuestClient {
  constructor(private readonly o: GuestClientOptions) {}

  async read(domain: DomainRef): Promise<GuestSeen> {
    return toGuest(await this.call(Guests.readGuest, this.about(domain)));
  }
  /** Gives what its clock was off by, if that could be read. */
  async syncTime(domain: DomainRef): Promise<number | undefined> {
    return toOffset((await this.call(Guests.syncGuestTime, this.about(domain))).clockOffsetMs);
  }
  async freeze(domain: DomainRef, thawAfterMs: number): Promise<{ fileSystems: number; thawAtMs: number }> {
    const request = { ...this.about(domain), thawAfterMs: BigInt(thawAfterMs) };
    const { fileSystems, thawAtMs } = await this.call(Guests.freezeGuest, request);
    return { fileSystems, thawAtMs: Number(thawAtMs) };
  }
  async thaw(domain: DomainRef): Promise<number> {
    return (await this.call(Guests.thawGuest, this.about(domain))).fileSystems;
  }
  async setPassword(domain: DomainRef, user: string, password: string): Promise<void> {
    await this.call(Guests.setGuestPassword, { ...this.about(domain), user, password });
  }
  /** @param signal aborted: nobody listens any more; the program goes on. */
  async *run(domain: DomainRef, program: GuestProgram, signal: AbortSignal): AsyncIterable<GuestNews> {
    const stream = this.connected().serverStream(Guests.runInGuest, { ...this.about(domain), ...program });
    const stop = () => stream.cancel();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      yield* newsOf(stream);
    } catch (e) {
      if (!signal.aborted) throw this.translate(e);
    } finally {
      signal.removeEventListener('abort', stop);
      stream.cancel();
    }
  }

  private about({ uuid, vmId }: DomainRef) {
    return { fence: this.o.fence(), uuid, vmId };
  }

  private connected(): Connection {
    const connection = this.o.connection();
    if (connection) return connection;
    throw new ClusterError('HOST_UNREACHABLE', `host ${this.o.name()} is not connected`, { phase: 'before' });
  }

  private async call<Req, Res>(m: Method<Req, Res>, request: Req): Promise<Res> {
    try {
      return await this.connected().unary(m, request, TIMEOUT_MS);
    } catch (e) {
      throw this.translate(e);
    }
  }

  private translate(e: unknown): Error {
    if (isClusterError(e)) return e;
    return fromStatus(tame(e as ServiceError), 'HOST_UNREACHABLE', `host ${this.o.name()}`);
  }
}

async function* newsOf(stream: ClientReadableStream<RunInGuestResponse>): AsyncIterable<GuestNews> {
  for await (const m of stream) {
    const { message } = m as RunInGuestResponse;
    if (message) yield message;
  }
}
