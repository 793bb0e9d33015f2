/** Where a disk is that is no file: to XML, and the name by which it is found again in the XML of a domain. Pure. */
import type { BlockSource } from '../../drivers/disks.ts';
import { el } from './text.ts';

export function blockSourceXml(s: BlockSource): string {
  if (s.type === 'block') return el('source', { dev: s.dev });
  return el('source', { protocol: s.protocol, name: s.name }, ...s.hosts.map(serverXml), authXml(s.auth));
}

/** NAME, NAME:PORT, or an address of IPv6 in brackets. */
export function serverXml(host: string): string {
  const v6 = /^\[(.*)\](?::(\d+))?$/.exec(host);
  if (v6) return el('host', { name: v6[1], port: v6[2] });
  const [, name = host, port] = /^(.*?)(?::(\d+))?$/.exec(host) ?? [];
  return el('host', { name, port });
}

const authXml = (auth: { readonly user: string; readonly secretUuid: string } | undefined) =>
  auth && el('auth', { username: auth.user }, el('secret', { type: 'ceph', uuid: auth.secretUuid }));

/** As `blockPath`; empty: it is nothing of the kind. @param source attributes */
export const blockName = (source: Readonly<Record<string, string>>): string =>
  source['protocol'] === 'rbd' && source['name'] ? `rbd:${source['name']}` : '';
