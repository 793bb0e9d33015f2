/** Errors on the wire: what a caller gets of what a handler threw, whatever is in its words. */
import { status as Status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { ClusterError, notFound } from './cluster-error.ts';
import { fromStatus, known, toStatus } from './wire.ts';

const silent = () => undefined;

describe('an error on the wire', () => {
  it('arrives with its reason, words and details', () => {
    const { code, details, metadata } = toStatus(notFound('vm web does not exist', { vm: 'web' }), silent);
    const sent = Object.assign(new Error(), { code: code ?? 0, details: details ?? '', metadata: metadata! });
    const got = fromStatus(sent, 'CONTROLLER_UNREACHABLE', 'the controller');
    expect(got).toMatchObject({ reason: 'NOT_FOUND', message: 'vm web does not exist', meta: { vm: 'web' } });
  });

  it('never carries half a character, which the library could not send', () => {
    const cut = '💥'.repeat(2).slice(0, 3);
    const { details } = toStatus(notFound(`vm ${cut} does not exist`), silent);
    expect(details).toBe('vm 💥\uFFFD does not exist');
    expect(() => encodeURI(details ?? '')).not.toThrow();
  });

  it('tells nothing of what was not foreseen but a trace id, under which the log has it', () => {
    const seen: unknown[] = [];
    const status = toStatus(new TypeError('of the insides'), (traceId, e) => seen.push(traceId, e));
    expect(status.code).toBe(Status.INTERNAL);
    expect(status.details).toBe(`internal error (trace ${String(seen[0])}); the log has the details`);
    expect(String(seen[1])).toBe('TypeError: of the insides');
  });

  it('is left as it is when it is known, and takes the trace id that a border has given it', () => {
    const error = new ClusterError('IN_USE', 'in use');
    expect(known(error, silent)).toBe(error);
    expect(known(new Error('x'), silent, 'abc').meta).toEqual({ traceId: 'abc' });
  });
});
