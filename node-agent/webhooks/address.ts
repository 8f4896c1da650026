/** Addresses that a webhook leads to only where that is allowed: else who may add one reads this network. */
import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { StorageError } from '../contract.ts';

/** Not public: IANA's registries of special-purpose addresses (RFC 6890), and multicast. */
const PRIVATE_4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
];
/** Of version 6 only this is public, `2000::/3`, but for what of it leads elsewhere. */
const PUBLIC_6 = '2000::/3';
const PRIVATE_6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

const private4 = listOf(PRIVATE_4, 'ipv4');
const private6 = listOf(PRIVATE_6, 'ipv6');
const public6 = listOf([PUBLIC_6], 'ipv6');

function listOf(ranges: readonly string[], family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [net = '', bits] = range.split('/');
    list.addSubnet(net, Number(bits), family);
  }
  return list;
}

/**
 * Whether a host is an address that is not public, or a name of this host.
 *
 * @param host of a URL as WHATWG parses it: `0x7f.1` is `127.0.0.1` there
 */
export function isPrivate(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (/(^|\.)localhost\.?$/.test(name)) return true;
  const version = isIP(name);
  if (version === 4) return private4.check(name, 'ipv4');
  // An address of version 4 inside one of version 6 is in no public range.
  if (version === 6) return !public6.check(name, 'ipv6') || private6.check(name, 'ipv6');
  return false;
}

/** Thrown where a name leads to an address that is not public. */
export class PrivateAddress extends StorageError {
  constructor(host: string, address: string) {
    super('forbidden', `${host} is ${address}, a private address, which this webhook may not use`);
  }
}

/**
 * Looks names up as Node does, and refuses those with any address that is not public. The connection is made
 * to what was looked at: nobody asks a second time.
 */
export const lookupPublic: LookupFunction = (host, options, callback) => {
  const answer = (error: NodeJS.ErrnoException | null, found: LookupAddress[]) => {
    const bad = found.find(({ address }) => isPrivate(address));
    if (error === null && bad !== undefined) error = new PrivateAddress(host, bad.address);
    if (error !== null || found[0] === undefined) callback(error, '', 0);
    else if (options.all === true) callback(null, found);
    else callback(null, found[0].address, found[0].family);
  };
  const all: LookupOptions = { ...options, all: true };
  lookup(host, all, (error, found) => answer(error, (found as LookupAddress[] | undefined) ?? []));
};
