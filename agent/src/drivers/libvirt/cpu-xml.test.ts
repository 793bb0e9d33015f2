import { expect, it } from 'vitest';
import { cpuText, readCpuText, readHostModel } from './cpu-xml.ts';

const CAPABILITIES = `<domainCapabilities><cpu>
  <mode name='host-passthrough' supported='no'/>
  <mode name='host-model' supported='yes'>
    <model fallback='forbid'>EPYC</model>
    <vendor>AMD</vendor>
    <feature policy='require' name='acpi'/>
    <feature policy='disable' name='vme'/>
  </mode>
  <mode name='custom' supported='yes'>
    <model usable='yes' vendor='unknown'>qemu64</model>
    <model usable='no' vendor='Intel'>Skylake-Client</model>
  </mode>
</cpu></domainCapabilities>`;

it('a host says what host-model is there, and which named models guests can have', () => {
  expect(readHostModel(CAPABILITIES)).toEqual({
    definition: {
      ...{ model: 'EPYC', vendor: 'AMD' },
      features: [
        { name: 'acpi', policy: 'require' },
        { name: 'vme', policy: 'disable' },
      ],
    },
    names: [
      { name: 'qemu64', usable: true },
      { name: 'Skylake-Client', usable: false },
    ],
  });
});

it('a host that cannot say has no host-model, and is not guessed at', () => {
  const none = CAPABILITIES.replace(`name='host-model' supported='yes'`, `name='host-model' supported='no'`);
  expect(readHostModel(none).definition).toBeUndefined();
  expect(readHostModel('<domainCapabilities/>')).toEqual({ definition: undefined, names: [] });
});

it('a CPU that is written is read as the same', () => {
  const cpu = { model: 'Westmere', vendor: 'Intel', features: [{ name: 'aes', policy: 'disable' as const }] };
  expect(readCpuText(cpuText(cpu))).toEqual(cpu);
  expect(readCpuText('<cpu><model>a</model><feature name="x"/></cpu>').features).toEqual([
    { name: 'x', policy: 'require' },
  ]);
});
