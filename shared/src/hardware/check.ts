/**
 * Whether a definition can be: each field by the schema, then what must fit together. All faults are told at once, each by
 * the path of its field. What a particular host can do is not looked at here.
 */
import type * as z from 'zod';
import type { ClusterError } from '../errors/cluster-error.ts';
import { invalidArgument } from '../errors/cluster-error.ts';
import { cpuFaults } from './check-cpu.ts';
import { deviceFaults } from './check-devices.ts';
import type { Fault, Machine } from './machine.ts';
import {
  diskOptionsSchema,
  hardwareSchema,
  nicOptionsSchema,
  type DiskOptions,
  type Hardware,
  type NicOptions,
} from './schema.ts';

/** @param what begins every line: `vm web`. @throws INVALID_ARGUMENT, one line per fault */
export const checkHardware = (what: string, value: unknown): Hardware => checked(what, hardwareSchema, value);

/** @param what `vm web: disks.0` */
export const checkDiskOptions = (what: string, value: unknown): DiskOptions => checked(what, diskOptionsSchema, value);

/** @param what `vm web: nics.0` */
export const checkNicOptions = (what: string, value: unknown): NicOptions => checked(what, nicOptionsSchema, value);

/** @throws INVALID_ARGUMENT: the parts, each proper by itself, cannot be one machine */
export function checkMachine(what: string, m: Machine): void {
  refuse(what, [...cpuFaults(m), ...deviceFaults(m)]);
}

function checked<T>(what: string, schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw refusal(what, result.error.issues.flatMap(faultsOf));
}

function refuse(what: string, faults: readonly Fault[]): void {
  if (faults.length > 0) throw refusal(what, faults);
}

const refusal = (what: string, faults: readonly Fault[]): ClusterError =>
  invalidArgument(
    faults
      .slice(0, 20)
      .map(([path, why]) => `${what}: ${path === '' ? '' : `${path} `}${why}`)
      .join('\n'),
  );

/** In the words of the schema; what it has no words for, in the library's. */
export function faultsOf(issue: z.core.$ZodIssue): Fault[] {
  const path = issue.path.join('.');
  const under = (key: string): string => [...issue.path, key].join('.').slice(0, 120);
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((k) => [under(k), 'is no field of a definition'] as const);
  if (issue.code === 'invalid_type' && /undefined$/.test(issue.message)) return [[path, 'is missing']];
  return [[path, issue.message.replace(/^Invalid input: /, '')]];
}
