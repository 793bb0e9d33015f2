/** What the kinds of documents have in common: how one is read, what it would change, and how that is done. Types only. */
import type * as z from 'zod';
import type { Api } from '../core/api.ts';

export interface Change {
  readonly field: string;
  /** Empty: nothing. */
  readonly before: string;
  readonly after: string;
  readonly atNextStart?: boolean;
}

export interface Plan {
  /** `vm web` is of noun vm. */
  readonly noun: string;
  readonly name: string;
  readonly what: 'create' | 'update' | 'nothing';
  /** Where it would be made; for people. */
  readonly where?: string;
  readonly changes: readonly Change[];
  /** What the document says that changes nothing. */
  readonly notes?: readonly string[];
  /** Makes it so; an empty job id: done. @returns what to say then, too. */
  apply(api: Api): Promise<{ readonly jobId: string; readonly said: string }>;
}

export interface Kind {
  readonly schema: z.ZodType;
  /** @throws what the controller refuses, in its words: `vm web: disks.0.cache …` */
  plan(api: Api, document: never): Promise<Plan>;
}
