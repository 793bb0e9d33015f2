import { expect, it } from 'vitest';
import { chain, ClusterError } from './cluster-error.ts';

const caused = (message: string, cause: unknown) => new ClusterError('INTERNAL', message, {}, { cause });

it('tells causes behind each other, and nothing twice', () => {
  expect(chain(caused('image base was not copied', new Error('disk full')))).toBe(
    'image base was not copied: disk full',
  );
  const grpc = new Error('14 UNAVAILABLE: No connection established');
  expect(chain(caused('h1 did not answer (No connection established)', grpc))).toBe(
    'h1 did not answer (No connection established)',
  );
});
