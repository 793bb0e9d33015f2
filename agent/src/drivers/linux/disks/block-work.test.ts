/** How an image is written to Ceph: the words for qemu-img. That it arrives there is test/lab/rbd.test.ts's. */
import { expect, it } from 'vitest';
import type { NetworkSource } from '../../disks.ts';
import { convertArguments } from './block-work.ts';

const source: NetworkSource = {
  ...{ type: 'network', protocol: 'rbd', name: 'vms/volume-1', hosts: ['mon1:6789', '[fd00::7]', 'mon3'] },
  auth: { user: 'berth', secretUuid: '528e4ae7-652b-58e1-a217-caeb5bf180e1' },
};

it('names the disk and its servers, and not the key', () => {
  expect(convertArguments('/run/s', source, true)).toEqual([
    ...['convert', '-p', '-n', '-f', 'raw', '--target-image-opts', '--target-is-zero'],
    ...['--object', 'secret,id=key,format=base64,file=/dev/fd/3', 'nbd+unix:///disk?socket=/run/s'],
    'driver=rbd,pool=vms,image=volume-1,user=berth,key-secret=key,' +
      'server.0.host=mon1,server.0.port=6789,server.1.host=fd00::7,server.1.port=0,server.2.host=mon3,server.2.port=0',
  ]);
});

it('needs no user where the cluster asks for none', () => {
  const { auth: _, ...open } = source;
  expect(convertArguments('/run/s', open, false).join(' ')).not.toMatch(/user=|secret/);
});
