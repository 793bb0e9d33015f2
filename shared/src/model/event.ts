/** What happened, for people. Written in the same transaction as the change it tells of. Plain data. */
export type Severity = 'info' | 'warning' | 'alarm';

export interface Event {
  readonly revision: number;
  readonly atMs: number;
  /** `<noun>.<past participle>`: vm.started, host.unreachable, job.stuck. */
  readonly type: string;
  readonly severity: Severity;
  readonly subjectKind:
    'host' | 'vm' | 'image' | 'volume' | 'job' | 'controller' | 'token' | 'user' | 'pool' | 'network' | 'cluster';
  /** Its name. */
  readonly subject: string;
  readonly message: string;
  readonly jobId: string | undefined;
  /** Of the VM, host or hidden image that it is about, at that moment: who may see it. */
  readonly labels?: Readonly<Record<string, string>>;
}
