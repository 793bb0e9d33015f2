/** What libvirt answers when it is asked for statistics, for tests. */
import { readAnswers, type Came } from './stats-record.ts';
import { statsRecord, type StatsRecord, type TypedValue } from './types.ts';
import { array, encode } from './xdr.ts';

export const statsReply = (...records: readonly StatsRecord[]): Buffer => encode(array(statsRecord, 16_384), records);

/** Of one domain that tells these; twice the same field is told twice. */
export const statsOf = (fields: readonly (readonly [string, TypedValue])[], came: Came = { atMs: 1, nowMs: 2 }) => {
  const params = fields.map(([field, value]) => ({ field, value }));
  const dom = { name: 'web', uuid: '11111111-2222-4333-8444-555555555555', id: 1 };
  return readAnswers(statsReply({ dom, params }), came)[0]?.stats;
};
