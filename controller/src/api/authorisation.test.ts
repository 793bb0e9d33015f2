import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ROLES, type Role } from '@berth/shared/model/access.ts';
import { Access } from '../app/access.ts';
import { AUTHORISATION, mayCall, ruleOf } from './authorisation.ts';

/** From the definitions themselves, so that a new service can't be forgotten. */
function declaredMethods(): string[] {
  const folder = fileURLToPath(new URL('../../../proto/berth/v1/', import.meta.url));
  return readdirSync(folder).flatMap((file) => {
    const text = readFileSync(`${folder}/${file}`, 'utf8');
    return [...text.matchAll(/^service (\w+) \{([\s\S]*?)^\}/gm)].flatMap(([, service, body]) =>
      [...(body ?? '').matchAll(/^\s*rpc (\w+)/gm)].map(([, method]) => `/berth.v1.${service}/${method}`),
    );
  });
}

describe('the authorisation table', () => {
  it('names every method of the public API, and no other', () => {
    const ours = Object.keys(AUTHORISATION).filter((path) => path.startsWith('/berth.'));
    expect(ours.sort()).toEqual(declaredMethods().sort());
  });

  it('lets anyone call enrolment, login and health, and nothing else', () => {
    const open = Object.keys(AUTHORISATION).filter((path) => AUTHORISATION[path] === 'anyone');
    expect(open.filter((p) => p.includes('UserService'))).toEqual(['/berth.v1.UserService/Login']);
    expect(open.map((p) => p.split('/')[1]).filter((s, i, all) => all.indexOf(s) === i)).toEqual([
      'berth.v1.EnrollmentService',
      'berth.v1.UserService',
      'grpc.health.v1.Health',
    ]);
  });

  it('knows nothing of a method that is not in it', () => {
    expect([ruleOf('/berth.v1.HostService/Nothing'), ruleOf('constructor')]).toEqual([undefined, undefined]);
  });

  it('gives each role what those below it may do', () => {
    const everywhere = (role: Role) => new Access([{ role, cluster: '', selector: '' }]);
    expect(ROLES.map((r) => mayCall(everywhere(r), { needs: 'operator', on: 'installation' }))).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });
});
