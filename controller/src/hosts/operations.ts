/**
 * Last known state of the agent operations that this run of the controller asked for. A host may only speak of operations
 * that were sent to it. For progress and nudges; jobs never take it as input.
 */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { OperationView } from './agent-client.ts';
import { LIMITS } from './limits.ts';

interface Entry {
  readonly hostId: HostId;
  view: OperationView | undefined;
}

export class OperationBook {
  private readonly entries = new Map<string, Entry>();
  private readonly byHost = new Map<HostId, Set<string>>();

  constructor(private readonly changed: (operationId: string) => void) {}

  /** From now on `hostId` may report about it. */
  expect(hostId: HostId, operationId: string): void {
    if (this.entries.get(operationId)?.hostId === hostId) return;
    this.forget(operationId);
    this.entries.set(operationId, { hostId, view: undefined });
    const mine = this.byHost.get(hostId) ?? new Set();
    this.byHost.set(hostId, mine.add(operationId));
    for (const oldest of mine) {
      if (mine.size <= LIMITS.operations) break;
      this.forget(oldest);
    }
  }

  note(hostId: HostId, view: OperationView): void {
    const entry = this.entries.get(view.id);
    if (entry?.hostId !== hostId) return;
    const before = entry.view;
    entry.view = view;
    const same =
      before?.state === view.state && before.needsSource === view.needsSource && before.doneBytes === view.doneBytes;
    if (!same) this.changed(view.id);
  }

  get(operationId: string): OperationView | undefined {
    return this.entries.get(operationId)?.view;
  }

  forgetPrefixes(hostId: HostId, prefixes: readonly string[]): void {
    for (const id of [...(this.byHost.get(hostId) ?? [])]) if (prefixes.some((p) => id.startsWith(p))) this.forget(id);
  }

  forgetHost(hostId: HostId): void {
    for (const id of [...(this.byHost.get(hostId) ?? [])]) this.forget(id);
  }

  private forget(operationId: string): void {
    const entry = this.entries.get(operationId);
    if (entry === undefined) return;
    this.entries.delete(operationId);
    const mine = this.byHost.get(entry.hostId);
    mine?.delete(operationId);
    if (mine?.size === 0) this.byHost.delete(entry.hostId);
  }
}
