/**
 * What may stand in a name or id that becomes part of a path, a libvirt name or a kernel name. Everything that comes over
 * the wire passes here before it is used; the drivers may rely on it.
 */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

const ID = /^[a-z][a-z0-9]{0,20}-[a-z0-9][a-z0-9-]{0,60}$/;
const UPLOAD_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** Linux takes 15 characters. */
const INTERFACE = /^[A-Za-z][A-Za-z0-9._-]{0,14}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

const show = (s: string): string => JSON.stringify(s.slice(0, 80));

/** An id of ours, like `vm-01j9…` or `volume-01j9…`. */
export function checkId(what: string, s: string): string {
  if (!ID.test(s)) throw invalidArgument(`${what} ${show(s)} is not an id`);
  return s;
}

export function checkUploadId(s: string): string {
  if (!UPLOAD_ID.test(s) || s.includes('..')) throw invalidArgument(`upload id ${show(s)} is malformed`);
  return s;
}

export function checkName(what: string, s: string): string {
  if (!NAME.test(s) || s.includes('..'))
    throw invalidArgument(
      `${what} name ${show(s)} is not allowed: use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit`,
    );
  return s;
}

export function checkUuid(s: string): string {
  if (!UUID.test(s)) throw invalidArgument(`${show(s)} is not a UUID in lower case`);
  return s;
}

export function checkDigest(s: string): string {
  if (!DIGEST.test(s)) throw invalidArgument(`${show(s)} is not an image digest (sha256: and 64 hexadecimal digits)`);
  return s;
}

export function checkInterface(what: string, s: string): string {
  if (!INTERFACE.test(s) || s.includes('..'))
    throw invalidArgument(`${what} name ${show(s)} is not allowed: use 1 to 15 letters, digits, '.', '_' and '-'`);
  return s;
}

/** Lower case, unicast. */
export function checkMac(s: string): string {
  const mac = s.toLowerCase();
  if (!MAC.test(mac) || (parseInt(mac.slice(0, 2), 16) & 1) === 1)
    throw invalidArgument(`${show(s)} is not the MAC address of one network card`);
  return mac;
}

/** @param max inclusive; a size in bytes that a number holds exactly. */
export function checkBytes(what: string, n: number, min: number, max: number): number {
  if (!Number.isSafeInteger(n) || n < min || n > max)
    throw invalidArgument(`${what} of ${n} bytes is out of range (${min} to ${max})`);
  return n;
}
