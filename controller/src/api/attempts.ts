/** What of a failed call goes into the audit log, and under which object. Pure but for the row it hands over. */
import { chain, type ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Audit } from '../app/audit.ts';
import type { Caller, Shown } from '../app/authentication.ts';

/** What a request is about, by its fields. */
export interface About {
  readonly kind: string;
  readonly name: string;
}

/** `/berth.v1.VmService/StartVm` → `VmService.StartVm`. */
export const shortMethod = (path: string): string => path.replace(/^\/(berth\.v1\.)?/, '').replace('/', '.');

const READS = /\.(Get|List|Watch|Read|Check|ServerReflectionInfo)/;
export const isRead = (path: string): boolean => READS.test(shortMethod(path));
/** Fields that name an object, the likeliest first. */
const NAMES = ['vm', 'host', 'image', 'job', 'user', 'token', 'imageId', 'name'] as const;

/** The object that a request names; undefined when it names none. */
export function aboutOf(path: string, request: unknown): About | undefined {
  if (typeof request !== 'object' || request === null) return undefined;
  const noun = (/\.(\w+)Service\//.exec(path)?.[1] ?? '').toLowerCase();
  const given = request as Readonly<Record<string, unknown>>;
  const field = [noun, 'name', ...NAMES].find((f) => typeof given[f] === 'string' && given[f] !== '');
  if (field === undefined) return undefined;
  const kind = field === 'name' ? noun : field.replace(/Id$/, '');
  return { kind, name: String(given[field]) };
}

const REFUSED: readonly string[] = ['UNAUTHENTICATED', 'PERMISSION_DENIED', 'RATE_LIMITED'];
/** Nobody's attempt: the caller went, or we did. */
const NOBODYS: readonly string[] = ['CANCELLED', 'CONTROLLER_UNREACHABLE'];

export interface Failed {
  readonly path: string;
  readonly peer: string;
  readonly shown: Shown;
  readonly caller: Caller | undefined;
  readonly about: About | undefined;
}

/** Every refusal, and every change that failed. */
export function noteFailed(audit: Pick<Audit, 'attempt'> | undefined, call: Failed, e: ClusterError): void {
  const method = shortMethod(call.path);
  const refused = REFUSED.includes(e.reason);
  if (audit === undefined || NOBODYS.includes(e.reason) || (!refused && READS.test(method))) return;
  audit.attempt({
    ...{ user: call.caller?.user ?? '', tokenId: call.caller?.tokenId ?? claimedToken(call.shown.authorization) },
    ...{ peer: call.peer, method, objectKind: call.about?.kind ?? '', object: call.about?.name ?? '' },
    ...{ outcome: refused ? 'refused' : 'failed', reason: e.reason, message: chain(e) },
  });
}

/** The id alone, which is no secret. */
const claimedToken = (authorization: string | undefined): string =>
  /^Bearer (token-[0-9a-z]{1,40})\./.exec(authorization ?? '')?.[1] ?? '';
