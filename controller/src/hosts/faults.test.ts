import { describe, expect, it } from 'vitest';
import { connectFault, REVOKED, WRONG_PEER } from './faults.ts';

const h2 = { name: 'h2', address: 'h2.example.org:7444' };
const faultOf = (details: string) => connectFault(details, false, h2, 0);

describe('a connection that failed', () => {
  it.each([
    `Last error: ${WRONG_PEER}that of host host-1. Resolution note: x`,
    REVOKED,
    'certificate has expired',
    'self-signed certificate',
  ])('for its certificate says how that very host is enrolled again: %s', (details) => {
    const { kind, reason } = faultOf(details);
    expect(kind).toBe('certificate-fault');
    expect(reason).toMatch(/ Enrol it again: berth host re-enroll h2, then berth-agent enroll there\.$/);
  });

  it('for another reason is no certificate fault', () => {
    expect(faultOf('connect ECONNREFUSED 10.0.0.2:7444')).toEqual({
      kind: 'unreachable',
      reason: 'h2.example.org:7444: nothing listens there: is the agent running?',
    });
  });
});
