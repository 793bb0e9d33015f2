import { describe, expect, it } from 'vitest';
import { controllerUnreachable } from './unreachable.ts';

const words = (said: string) => controllerUnreachable('h:7443', said).message;

describe('a controller that does not answer', () => {
  it('is told in one line, with the cause that a person can act on', () => {
    const refused = 'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:9. Resolution note: ';
    expect(words(refused)).toBe("the controller at h:7443 can't be reached: connection refused. Does it run?");
    expect(words('Name resolution failed for target dns:h:7443')).toMatch(/no such host name$/);
    expect(words('self-signed certificate in certificate chain')).toMatch(/pinned at login/);
    const waited =
      'Deadline exceeded after 30.003s,name resolution: 0.002s,metadata filters: 0.000s,Waiting for LB pick';
    expect(words(waited)).toMatch(/reached: no answer in time\. Does it run\?/);
    expect(words('something else\nat line 5')).toMatch(/reached: something else$/);
  });
});
