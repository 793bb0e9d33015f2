/** CPU definitions between libvirt's XML and ours. Pure. */
import type { CpuDefinition, CpuFeature } from '@berth/shared/model/cpu.ts';
import { el, textEl } from '../../domain/xml/text.ts';
import { find, findAll, parseXml, textAt, type XmlElement } from '../../domain/xml/tree.ts';

export const cpuText = ({ model, vendor, features }: CpuDefinition): string =>
  el(
    'cpu',
    {},
    textEl('model', {}, model),
    vendor === '' ? undefined : textEl('vendor', {}, vendor),
    ...features.map((f) => el('feature', { policy: f.policy, name: f.name })),
  );

export const readCpuText = (xml: string): CpuDefinition => readCpu(parseXml(xml));

/** Of domain capabilities: what host-model is, if that is told, and all named models. */
export function readHostModel(capabilities: string): {
  readonly definition: CpuDefinition | undefined;
  readonly names: readonly { readonly name: string; readonly usable: boolean }[];
} {
  const modes = findAll(find(parseXml(capabilities), 'cpu'), 'mode');
  const mode = (name: string) =>
    modes.find((m) => m.attributes['name'] === name && m.attributes['supported'] === 'yes');
  const host = mode('host-model');
  const names = findAll(mode('custom'), 'model').map((m) => ({
    name: m.text ?? '',
    usable: m.attributes['usable'] === 'yes',
  }));
  return { definition: host && readCpu(host), names };
}

/** A feature without a policy is one that is there. */
const readCpu = (e: XmlElement): CpuDefinition => ({
  model: textAt(e, 'model'),
  vendor: textAt(e, 'vendor'),
  features: findAll(e, 'feature').map(({ attributes: { name = '', policy } }): CpuFeature => {
    return { name, policy: policy === 'disable' || policy === 'forbid' ? 'disable' : 'require' };
  }),
});
