/** What VMs, images and everything else that people name may be called. The words for what is refused are the controller's. */

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** A name is a DNS label: it becomes the guest's host name, and part of file names and URLs. */
export const isObjectName = (name: string): boolean => LABEL.test(name);
