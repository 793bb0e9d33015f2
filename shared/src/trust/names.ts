/**
 * Who a certificate speaks for, and what for: a URI in its subjectAltName, set by the controller when it signs. Peers are
 * verified by this name and the CA, never by address. A host has two names: `host` on its agent port, `transfer` between
 * hosts; each comes from a CA of its own, so that a certificate for one port never opens the other. A command line has the name
 * of its login, which opens nothing but the public API.
 */
export const hostUri = (hostId: string): string => `urn:berth:host:${hostId}`;
export const transferUri = (hostId: string): string => `urn:berth:transfer:${hostId}`;
export const controllerUri = (installationId: string): string => `urn:berth:controller:${installationId}`;
export const clientUri = (loginId: string): string => `urn:berth:client:${loginId}`;
/**
 * The DNS name that every host has beside that on its agent port, for callers that know nothing but TLS, as Prometheus does: they learn
 * that it is a host of this installation, and not which. Never an address: nothing that is one could pass for the controller.
 */
export const HOST_SERVER_NAME = 'berth-agent';

export interface PeerName {
  readonly kind: 'host' | 'transfer' | 'controller' | 'client';
  readonly id: string;
}

/** Reads Node's `subjectaltname` text of a peer certificate. Undefined unless it holds exactly one Berth name. */
export function peerName(subjectAltName: string | undefined): PeerName | undefined {
  const names = (subjectAltName ?? '')
    .split(', ')
    .map((part) => /^URI:urn:berth:(host|transfer|controller|client):([A-Za-z0-9-]+)$/.exec(part))
    .filter((m) => m !== null);
  const [only] = names;
  return names.length === 1 && only ? { kind: only[1] as PeerName['kind'], id: only[2] as string } : undefined;
}
