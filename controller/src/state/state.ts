/**
 * The contract of the controller's state: typed tables in memory, one synchronous writer, group commit, revisions. Types
 * only; made by store.ts. Durable intent lives here; what hosts report lives in controller/src/hosts.
 */
import type { AuditEntry, AuditHead, AuditRow } from '@berth/shared/model/audit.ts';
import type { CleanupDebt, JoinToken, Token, User } from '@berth/shared/model/access.ts';
import type { Certificate } from '@berth/shared/model/certificate.ts';
import type { Alarm } from '@berth/shared/model/alarm.ts';
import type { Claim, ClaimSums } from '@berth/shared/model/claim.ts';
import type { Cluster } from '@berth/shared/model/cluster.ts';
import type { Event } from '@berth/shared/model/event.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId, ImageId, JobId } from '@berth/shared/model/ids.ts';
import type { Image, ImageCopy } from '@berth/shared/model/image.ts';
import type { Job, JobEvent } from '@berth/shared/model/job.ts';
import type { Network } from '@berth/shared/model/network.ts';
import type { Pool } from '@berth/shared/model/pool.ts';
import type { Review } from '@berth/shared/model/review.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Volume } from '@berth/shared/model/volume.ts';

export type NotPromise<T> = T extends PromiseLike<unknown> ? never : T;

export interface Table<V> {
  readonly size: number;
  /** Grows with each change, also with one that is taken back. */
  readonly version: number;
  get(key: string): V | undefined;
  /** In the order of keys. */
  values(): IterableIterator<V>;
}

export interface NamedTable<V> extends Table<V> {
  byName(name: string): V | undefined;
  /** In the order of names, after `name`; for pages. */
  afterName(name: string, limit: number): readonly V[];
}

export interface Writable<V> {
  /** Inserts or replaces. Uniqueness (name, address, MAC) is checked here: ALREADY_EXISTS. */
  put(value: V): void;
  delete(key: string): void;
}

export interface Tables {
  readonly hosts: NamedTable<Host>;
  readonly vms: NamedTable<Vm> & {
    byHost(hostId: HostId): readonly Vm[];
    byMac(mac: string): Vm | undefined;
    byImage(imageId: ImageId): readonly Vm[];
    byUuid(uuid: string): Vm | undefined;
    /** Whose disk it is. */
    byVolume(volumeId: string): Vm | undefined;
    /** Those whose guests were given this address on a bridge of this name. */
    byAddress(bridge: string, address: string): readonly Vm[];
    /** Those with a screen that listens on this port of their host. */
    byPort(port: number): readonly Vm[];
    /** With a disk in this pool. */
    byPool(poolId: string): readonly Vm[];
    /** With a network card in this network. */
    byNetwork(networkId: string): readonly Vm[];
  };
  readonly images: NamedTable<Image> & {
    byDigest(digest: string): readonly Image[];
    /** @param name without a version. */
    versions(name: string): readonly Image[];
  };
  readonly pools: NamedTable<Pool>;
  readonly networks: NamedTable<Network>;
  /** Key: its name. Absent: as it came. */
  readonly clusters: Table<Cluster>;
  /** Key: imageCopyKey. */
  readonly imageCopies: Table<ImageCopy> & {
    byImage(imageId: ImageId): readonly ImageCopy[];
    byHost(hostId: HostId): readonly ImageCopy[];
  };
  /** Those that stand alone. */
  readonly volumes: NamedTable<Volume> & {
    byHost(hostId: HostId): readonly Volume[];
    byImage(imageId: ImageId): readonly Volume[];
    byPool(poolId: string): readonly Volume[];
  };
  /** Key: vm id. */
  readonly claims: Table<Claim> & {
    byHost(hostId: HostId): readonly Claim[];
    /** The same object for as long as the controller lives, always up to date. */
    sums(hostId: HostId): ClaimSums;
    /** What disks in this pool may grow to, on all hosts. */
    poolBytes(poolId: string): number;
  };
  readonly jobs: Table<Job> & {
    open(): readonly Job[];
    byKey(key: string): Job | undefined;
    /** How many are open. */
    readonly openSize: number;
    /** Any open job that holds this object; with `alone`, one that lets no other hold it. */
    holder(object: string, alone: boolean): Job | undefined;
    /** Open job that holds this object (`vm/<id>`), shared or exclusive. */
    holders(object: string): readonly Job[];
    /** Open jobs that this job waits for. */
    awaitedBy(jobId: string): readonly Job[];
    /** Open jobs and those that ended lately (the newest 1,000 at least). */
    newest(limit: number, before: string | undefined, openOnly: boolean): readonly Job[];
  };
  readonly users: NamedTable<User>;
  readonly tokens: Table<Token> & { byUser(name: string): readonly Token[] };
  readonly joinTokens: Table<JoinToken> & { byHost(hostId: HostId): readonly JoinToken[] };
  readonly debts: Table<CleanupDebt> & { byHost(hostId: HostId): readonly CleanupDebt[] };
  /** What is wrong now. Key: its id. */
  readonly alarms: Table<Alarm>;
  /** Key: host id. */
  readonly reviews: Table<Review> & { byHost(hostId: HostId): readonly Review[] };
  /** Key: serial. Of hosts that are gone too, while they are valid. */
  readonly certificates: Table<Certificate> & {
    /** Empty: those that are no host's. */
    byHost(hostId: HostId | ''): readonly Certificate[];
    /** Those that hosts must refuse, in no order. */
    revoked(): readonly Certificate[];
    /** Of a command line: those that were renewed from one another. */
    byLogin(loginId: string): readonly Certificate[];
    /** Of command lines: those that stand for a token. */
    byToken(tokenId: string): readonly Certificate[];
  };
}

export type WritableTables = {
  readonly [K in keyof Tables]: Tables[K] & Writable<Tables[K] extends Table<infer V> ? V : never>;
};

export interface Tx extends WritableTables {
  readonly nowMs: number;
  /** Appends to a job's log. */
  appendJobEvent(jobId: JobId, event: Omit<JobEvent, 'atMs'>): void;
  /** Writes a row of the audit log by hand; what a caller changes gets its row by itself (actor.ts). */
  audit(e: Omit<AuditEntry, 'atMs'>): void;
  /** Records what happened; travels in this transaction. */
  event(e: Omit<Event, 'revision' | 'atMs'>): void;
}

export type TableName = keyof Tables;

/** A job as history has it. */
export interface StoredJob {
  readonly job: Job;
  readonly log: readonly JobEvent[];
}

export interface Change {
  readonly revision: number;
  /** Table → keys that were put or deleted. */
  readonly touched: ReadonlyMap<keyof Tables, ReadonlySet<string>>;
  readonly events: readonly Event[];
  /** Jobs whose log grew. */
  readonly jobLogs: ReadonlySet<JobId>;
}

export interface AuditQuery {
  /** Rows before this one. */
  readonly before?: number;
  /** Rows after this one, oldest first. */
  readonly after?: number;
  readonly limit: number;
  readonly user?: string;
  readonly object?: string;
  readonly outcome?: string;
  readonly sinceMs?: number;
}

export interface State {
  readonly tables: Tables;
  readonly installationId: string;
  readonly epoch: number;
  /** Applied in memory; may not be durable yet. */
  /** Updates that wait for the next commit. */
  readonly pending?: number;
  readonly revision: number;
  readonly durableRevision: number;
  /**
   * Runs `fn` at once, synchronously, as one transaction: throws what it throws with nothing changed; otherwise resolves
   * with its result when the revision is durable. Many updates share one commit.
   */
  update<T>(fn: (tx: Tx) => NotPromise<T>): Promise<T>;
  /**
   * As `update`, but resolves before the revision is durable, so that several in a row share one commit. Whoever tells or
   * does anything outside because of it awaits `settled` first.
   */
  apply<T>(fn: (tx: Tx) => NotPromise<T>): Promise<T>;
  /** Resolves when everything applied so far is durable: await it before answering a read. */
  settled(): Promise<void>;
  /** Resolves when a commit of its own, of nothing, has become durable: that commits work now. */
  prove(): Promise<void>;
  /** Of open jobs and those that ended lately; others are in history. */
  jobLog(jobId: JobId): readonly JobEvent[];
  /** From the durable engine, open and ended, newest first; `tables.jobs` forgets old ended jobs. */
  jobHistory(query: {
    readonly id?: JobId;
    readonly before?: string;
    readonly limit: number;
  }): Promise<readonly StoredJob[]>;
  /** Newest last. */
  events(query: { afterRevision?: number; limit: number; subject?: string }): Promise<readonly Event[]>;
  /** Writes a whole, consistent copy of the database to `path`, which must not exist; commits go on meanwhile. */
  copyTo(path: string): Promise<void>;
  /** Newest first; oldest first with `after`. */
  auditLog(query: AuditQuery): Promise<readonly AuditRow[]>;
  /** The newest row of the audit log, applied in memory. */
  readonly auditHead: AuditHead;
  /** Takes the oldest rows out of the audit log, and writes a row that says up to which. */
  pruneAudit(upTo: AuditHead, method: string): Promise<void>;
  /** Called after each durable commit, in order. */
  subscribe(listener: (change: Change) => void): () => void;
  /** Resolves when all is durable and the file is closed. */
  close(): Promise<void>;
}
