/** Why a controller can't be talked to, in words: grpc's own are long, and say everything twice. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';

const CAUSES: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'connection refused. Does it run?'],
  [/ENOTFOUND|EAI_AGAIN|[Nn]ame resolution failed/, 'no such host name'],
  [/EHOSTUNREACH|ENETUNREACH/, 'there is no way to it in the network'],
  [/ECONNRESET|EPIPE|[Cc]onnection dropped/, 'the connection broke. Jobs go on when it is back: berth job list'],
  [
    /ETIMEDOUT|DEADLINE|[Dd]eadline/,
    'no answer in time. Does it run? Look at its machine: systemctl status berth-controller',
  ],
  [
    /certificate has expired|not yet valid/,
    "its certificate is not valid by the clock of this machine: compare it with the controller's",
  ],
  [
    /certificate|self-signed|not a Berth controller/,
    'its certificate is not of the CA that was pinned at login. If its CAs were replaced since, log in again',
  ],
];

/** @param said by grpc, with the system's error in it. */
export function controllerUnreachable(address: string, said: string): ClusterError {
  const why = CAUSES.find(([pattern]) => pattern.test(said))?.[1] ?? said.split('\n')[0] ?? '';
  return new ClusterError('CONTROLLER_UNREACHABLE', `the controller at ${address} can't be reached: ${why}`);
}
