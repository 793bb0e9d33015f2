/**
 * What a definition asks of a host that the host can't give: machine, firmware, TPM, CPU, screen. In words, with what to do;
 * libvirt's own name neither the VM nor a way out. Pure.
 */
import { mostMemory } from '@berth/shared/hardware/check-cpu.ts';
import { cpusOf } from '@berth/shared/hardware/values.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Asked, Host } from './asked.ts';

export function* notOffered(vm: Asked, host: Host): Iterable<string> {
  const { machine = 'q35' } = vm.hardware ?? {};
  if (host.abilities === undefined)
    yield `asks for machine ${machine}, which QEMU on ${host.hostName} does not have: choose q35 or pc, or upgrade QEMU there`;
  yield* firmware(vm, host);
  yield* emulated(vm, host);
  yield* cpu(vm, host);
  yield* places(vm, host);
  yield* screens(vm, host);
}

function* firmware({ hardware: h = {} }: Asked, { abilities: a, hostName }: Host): Iterable<string> {
  const { machine = 'q35' } = h;
  const uefi = h.firmware?.type === 'uefi';
  if (a && uefi && !a.firmwares.includes('efi'))
    yield `boots by UEFI, and ${hostName} has no such firmware for machine ${machine}: install it there (Debian: ovmf; RHEL: edk2-ovmf)`;
  else if (a && uefi && h.firmware?.secureBoot === true && !a.secureBoot)
    yield `asks for Secure Boot, and ${hostName} has no firmware for it: install it there (Debian: ovmf; RHEL: edk2-ovmf)`;
}

function* emulated({ hardware: h = {} }: Asked, { abilities: a, hostName, libvirtVersion }: Host): Iterable<string> {
  if (a && h.tpm !== undefined && !a.tpms.includes('emulator'))
    yield `has a TPM, and ${hostName} cannot emulate one: install swtpm there (Debian: swtpm and swtpm-tools; RHEL: swtpm)`;
  if (h.watchdog?.model === 'itco' && older(libvirtVersion, 9, 1))
    yield `asks for watchdog itco, which libvirt ${libvirtVersion} on ${hostName} cannot set (9.1 can): choose i6300esb`;
}

function older(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map(Number);
  return a < major || (a === major && b < minor);
}

function* cpu({ hardware: h = {} }: Asked, { abilities, hostName, domainType }: Host): Iterable<string> {
  const { mode, model } = h.cpu ?? {};
  if (mode === 'host-passthrough' && domainType === 'qemu')
    yield `asks for CPU mode host-passthrough, which needs KVM, and ${hostName} only emulates: choose host-model`;
  if (mode === 'custom' && model !== undefined && abilities && !abilities.cpuModels.includes(model))
    yield `asks for CPU ${model}, which libvirt on ${hostName} does not know: those that it does are told there by virsh cpu-models x86_64`;
}

/** CPUs and memory of the host that are asked for by number. */
function* places(vm: Asked, { inventory, hostName }: Host): Iterable<string> {
  const { pinning = [], emulatorCpus, numa = [] } = vm.hardware?.cpu ?? {};
  const nodes = inventory.numa;
  const cpus = nodes.flatMap((n) => [...cpusOf(n.cpus)]);
  const there = new Set(cpus.length > 0 ? cpus : Array.from({ length: inventory.cpu.threads }, (_, i) => i));
  const wanted = [...pinning.map((p) => p.cpus), ...(emulatorCpus === undefined ? [] : [emulatorCpus])];
  const absent = [...new Set(wanted.flatMap((set) => [...cpusOf(set)]))].filter((c) => !there.has(c));
  if (absent.length > 0)
    yield `is pinned to CPU ${absent.slice(0, 8).join(', ')}, and ${hostName} has ${there.size} CPUs (the last is ${Math.max(...there)})`;
  const asked = new Set(numa.flatMap((n) => (n.hostNodes === undefined ? [] : [...cpusOf(n.hostNodes)])));
  const unknown = [...asked].filter((id) => id > 0 && !nodes.some((n) => n.id === id));
  if (unknown.length > 0)
    yield `takes memory from NUMA node ${unknown.join(', ')}, and ${hostName} has ${nodes.length || 1} (see berth host show)`;
}

function* screens({ hardware: h = {} }: Asked, { abilities: a, hostName }: Host): Iterable<string> {
  const video = h.video?.model ?? 'vga';
  if (a === undefined) return;
  if (h.graphics?.some((g) => g.type === 'spice') && !a.graphics.includes('spice'))
    yield `asks for SPICE, which QEMU on ${hostName} was made without: choose vnc`;
  if (video !== 'none' && !a.videos.includes(video))
    yield `asks for video card ${video}, which QEMU on ${hostName} does not have: choose one of ${a.videos.join(', ')}`;
}

/** Only at a start: what is free now may be gone by then. */
export function* pagesLacking(vm: Asked, { hugePages, hostName }: Host): Iterable<string> {
  const sizeBytes = vm.hardware?.memoryBacking?.hugepageBytes;
  if (sizeBytes === undefined) return;
  const most = mostMemory({ memoryBytes: vm.memoryBytes, hardware: vm.hardware ?? {} });
  const needed = Math.ceil(most / sizeBytes);
  const { free = 0, total = 0 } = hugePages.find((p) => p.sizeBytes === sizeBytes) ?? {};
  if (free >= needed) return;
  const how =
    sizeBytes === 2 ** 21
      ? `sysctl vm.nr_hugepages=${total - free + needed}`
      : `hugepagesz=1G hugepages=${total - free + needed} on its kernel command line`;
  yield `needs ${needed} huge pages of ${formatBytes(sizeBytes)}, and ${hostName} has ${free} free of ${total}: reserve more there (${how})`;
}
