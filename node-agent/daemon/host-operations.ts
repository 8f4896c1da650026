/** What the routes of hosts take and answer: they take AGENT_ADMIN_TOKEN. The routes are in `app.ts`. */
import { type Operation, pageOf } from '../contract.ts';
import {
  AddedHostSchema,
  AddHostSchema,
  AssignedHostSchema,
  AssignHostSchema,
  HostParamSchema,
  HostSchema,
  RevokedHostSchema,
  RotatedHostSchema,
  RotateHostSchema,
} from './host-schemas.ts';

const HOST = '/v1/hosts/{host}';

export const HOST_OPERATIONS: Record<string, Operation> = {
  'GET /v1/hosts': {
    id: 'listHosts',
    summary: 'The hosts that have a key of their own, where this daemon has the secret key.',
    answer: pageOf(HostSchema),
    errors: ['not_found'],
  },
  'POST /v1/hosts': {
    id: 'addHost',
    summary: 'Adds a host, and gives it a key.',
    answer: AddedHostSchema,
    status: 201,
    inputs: { json: AddHostSchema },
    errors: ['conflict', 'not_found', 'too_large'],
  },
  [`POST ${HOST}/rotate`]: {
    id: 'rotateHostKey',
    summary: 'Gives a host another key; the earlier one goes on for a while.',
    answer: RotatedHostSchema,
    inputs: { param: HostParamSchema, json: RotateHostSchema },
    errors: ['not_found', 'too_large'],
  },
  [`POST ${HOST}/assign`]: {
    id: 'assignProjects',
    summary:
      'Lets a host write to projects, and gives it what in them the secret key saved, or a host that is revoked.',
    answer: AssignedHostSchema,
    inputs: { param: HostParamSchema, json: AssignHostSchema },
    errors: ['conflict', 'not_found', 'too_large'],
  },
  [`POST ${HOST}/revoke`]: {
    id: 'revokeHost',
    summary: 'Has the keys of a host open nothing any more; what it saved stays.',
    answer: RevokedHostSchema,
    inputs: { param: HostParamSchema },
    errors: ['not_found'],
  },
};
