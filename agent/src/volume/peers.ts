/** What the agent's core needs of the peer port (agent/src/peer): exports given to peers, and tunnels to them. */

export interface PeerOffer {
  /** Host id in the peer's certificate. */
  readonly hostId: string;
  readonly address: string;
  readonly ticket: string;
}

export interface Tunnel {
  /** UNIX socket that leads to whichever peer was offered last. */
  readonly socketPath: string;
  offer(peer: PeerOffer): void;
  close(): Promise<void>;
}

export interface Peers {
  /** Listens; gives the port. */
  start(): Promise<{ readonly port: number }>;
  stop(): Promise<void>;
  /** A ticket with which this peer can read this image until it expires. NOT_FOUND when the image is not here. */
  openExport(digest: string, peerHostId: string): Promise<string>;
  /** @param onNeed true: there is no peer, or the one there was fell silent. */
  openTunnel(operationId: string, digest: string, onNeed: (needed: boolean) => void): Promise<Tunnel>;
}
