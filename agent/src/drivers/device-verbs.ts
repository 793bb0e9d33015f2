/** Devices of a domain that runs: what comes and goes under its guest. The stored definition is never touched here. */
export interface DeviceVerbs {
  /** The guest sees the new size at once. Only up. BAD_STATE unless it runs. @param target as in its XML: `vda` */
  resizeDisk(uuid: string, target: string, sizeBytes: number): Promise<void>;
  /** Adds what the XML says. Libvirt's words when the machine has no place for it. */
  attach(uuid: string, xml: string): Promise<void>;
  /**
   * Asks the guest to let go of the device that the XML describes as it runs, and waits until it has, or has refused, or a while is
   * over. Whether it is gone the running XML tells. @param alias of the device, by which libvirt tells of it.
   */
  detach(uuid: string, xml: string, alias: string): Promise<void>;
}
