/** The guest's reader of cloud-init network configurations, run with the awk of this machine. */
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';

async function read(config: string): Promise<string[]> {
  const script = new URL('guest/network.awk', import.meta.url).pathname;
  const { stdout } = await execa('awk', ['-f', script], { input: config });
  return stdout.split('\n');
}

describe('a network configuration', () => {
  it('gives static addresses to the NIC with a MAC address', async () => {
    const config = `version: 2
ethernets:
  nic0:
    match:
      macaddress: "52:54:00:AA:BB:01"
    set-name: eth0
    addresses:
      - 10.77.0.11/24
      - "10.77.1.11/24"
    gateway4: 10.77.0.1
  nic1:
    match: # by name
      name: eth1
    addresses: [192.168.1.2/24]
`;
    expect(await read(config)).toEqual([
      'mac 52:54:00:aa:bb:01',
      'address 10.77.0.11/24',
      'address 10.77.1.11/24',
      'gateway 10.77.0.1',
      'name eth1',
      'address 192.168.1.2/24',
    ]);
  });

  it('may be wrapped in network, have routes, name servers and DHCP', async () => {
    const config = `network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      nameservers:
        addresses: [1.1.1.1]
      routes:
        - to: default
          via: 10.0.0.1
`;
    expect(await read(config)).toEqual(['name eth0', 'dhcp', 'gateway 10.0.0.1']);
  });

  it('may be without any NIC', async () => {
    expect(await read('version: 2\nethernets: {}\n')).toEqual(['']);
  });
});
