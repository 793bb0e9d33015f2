/** The kinds of alarms about storage: pools that fill up or are away, and guests that found no room. Pure functions, as in kinds.ts. */
import { isOfDevices, LOCAL_POOL, usedPercent, type Pool, type PoolSeen } from '@berth/shared/model/pool.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { hostsOf, seenOn } from '../app/pool-hosts.ts';
import { fullPlace } from '../app/vm-pools.ts';
import type { AlarmKind, Answer, Look } from './kinds.ts';

const SHORT_MS = 5_000;
const LONG_MS = 30_000;
/** It must become so much emptier before it is no alarm any more. */
const BACK_PERCENT = 2;

export const POOL_KINDS: readonly AlarmKind<Pool>[] = [
  { kind: 'pool-full', severity: 'warning', raiseAfterMs: SHORT_MS, look: full },
  { kind: 'pool-down', severity: 'critical', raiseAfterMs: LONG_MS, look: down },
];

export const SPACE_KINDS: readonly AlarmKind<Vm>[] = [
  { kind: 'vm-no-space', severity: 'critical', raiseAfterMs: 0, look: noSpace },
];

interface On {
  readonly host: string;
  readonly seen: PoolSeen;
}

/** What hosts that report say of it. */
function seenOf(pool: Pool, { tables, hosts }: Look): readonly On[] {
  return hostsOf(pool, tables).flatMap((h) => {
    const status = hosts.status(h.id);
    const seen = status.complete.has('pools') ? seenOn(status, pool.id) : undefined;
    return seen === undefined ? [] : [{ host: h.name, seen }];
  });
}

function full(pool: Pool, look: Look, raised: boolean): Answer {
  if (pool.state !== 'ready' || pool.name === LOCAL_POOL || isOfDevices(pool.source.type)) return undefined;
  const all = seenOf(pool, look).filter((o) => o.seen.state === 'active');
  if (all.length === 0) return pool.started ? 'unknown' : undefined;
  const [fullest] = [...all].sort((a, b) => usedPercent(b.seen) - usedPercent(a.seen));
  const used = usedPercent(fullest!.seen);
  if (used < pool.warnPercent - (raised ? BACK_PERCENT : 0)) return undefined;
  const where = pool.shared ? '' : ` on ${fullest!.host}`;
  const left = `${formatBytes(fullest!.seen.availableBytes)} of ${formatBytes(fullest!.seen.capacityBytes)} free`;
  const stops = used >= pool.stopPercent;
  return {
    severity: stops ? 'critical' : 'warning',
    message: `pool ${pool.name}${where} is ${Math.floor(used)} % full: ${left}${stops ? '; nothing more is placed there' : ''}`,
    advice: 'Delete disks there, or give it more room: guests stop when their disks can not grow',
  };
}

function down(pool: Pool, look: Look): Answer {
  if (pool.state !== 'ready' || pool.name === LOCAL_POOL || !pool.started) return undefined;
  const away = seenOf(pool, look).filter((o) => o.seen.state === 'silent' || o.seen.state === 'failed');
  const [first, ...more] = away;
  if (first === undefined) return undefined;
  const others = more.length > 0 ? `, and on ${more.length} more` : '';
  const why = first.seen.reason.split('\n')[0] ?? '';
  return {
    message: `pool ${pool.name} is ${first.seen.state} on ${first.host}${others}${why === '' ? '' : `: ${why}`}`,
    advice: `Look whether its server is up and can be reached from there; it is started again by itself`,
  };
}

function noSpace(vm: Vm, { tables, hosts }: Look): Answer {
  const seen = hosts.vm(vm.id);
  if (seen === undefined || seen.power === 'unknown') return vm.phase === 'ready' ? 'unknown' : undefined;
  if (seen.power !== 'paused' || seen.reason !== 'no-space') return undefined;
  return {
    message: `vm ${vm.name} is paused: no space left in ${fullPlace(vm, { tables, hosts })}`,
    advice: 'Make room there: it goes on by itself then, and has lost nothing',
  };
}
