-- Hosts that have a key of their own: added, given another key, assigned projects, revoked.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(38);

-- Others may have some, too.
delete from public.storage_hosts;

create function pg_temp.key(n text) returns text language sql as $$ select encode(sha256(n::bytea), 'hex') $$;
create function pg_temp.host(host text) returns jsonb language sql as $$
  select item from jsonb_array_elements(storage_list_hosts(100)) item where item ->> 'name' = host
$$;
-- Whether it ends, and its sha256, the newest first.
create function pg_temp.keys(host text) returns text[] language sql as $$
  select array_agg(k.sha256 order by k.created_at desc) from storage_host_keys k
  join storage_hosts h on h.id = k.host_id where h.name = host and h.revoked_at is null
$$;

-- Added ------------------------------------------------------------------------------------------
select is(storage_add_host('gen-1', pg_temp.key('1')) ->> 'outcome', 'added', 'a host is added');
select is(pg_temp.host('gen-1') - 'id' - 'created_at' - 'keys',
  '{"name": "gen-1", "read": "own", "delete": "none", "projects": 0, "last_seen_at": null, "revoked_at": null}',
  'it may read what is its own, and delete nothing');
select is(pg_temp.host('gen-1') #>> '{keys,0,expires_at}', null, 'its key does not end');
select is(storage_add_host('GEN-1', pg_temp.key('2')), '{"outcome": "exists"}', 'a name is taken in any case');
select is(pg_temp.keys('gen-1'), array[pg_temp.key('1')], 'and who has it has the key that it had');
select is(storage_add_host('gen-2', pg_temp.key('2'), 'all', 'own', array['a', 'b', 'a'], now() + interval '90 days') ->> 'outcome',
  'added', 'rights, projects and an end are given with it');
select is(pg_temp.host('gen-2') - 'id' - 'created_at' - 'keys',
  '{"name": "gen-2", "read": "all", "delete": "own", "projects": 2, "last_seen_at": null, "revoked_at": null}', 'and kept');
select is((pg_temp.host('gen-2') #>> '{keys,0,expires_at}')::timestamptz, now() + interval '90 days', 'its key ends then');
select throws_ok($$ select storage_add_host('gen-3', pg_temp.key('2')) $$, '23505', null, 'a key is one host''s');
select is(pg_temp.host('gen-3'), null, 'and nothing is left of who had it too');
select throws_ok($$ select storage_add_host('gen 3', pg_temp.key('3')) $$, '23514', null, 'a name has no blanks');
select throws_ok($$ select storage_add_host('gen-3', 'cbh_secret') $$, '23514', null, 'a key itself is not kept');
select throws_ok($$ select storage_add_host('gen-3', pg_temp.key('3'), 'none') $$, '23514', null, 'a right is one that there is');

-- Another key ------------------------------------------------------------------------------------
select is((storage_rotate_host_key('gen-1', pg_temp.key('1b'), 3600) ->> 'earlier_ends_at')::timestamptz,
  now() + interval '1 hour', 'the earlier key goes on for a while');
select is(pg_temp.keys('gen-1'), array[pg_temp.key('1b'), pg_temp.key('1')], 'beside the new one');
select is((select expires_at from storage_host_keys where sha256 = pg_temp.key('1b')), null, 'which does not end');
select is(storage_rotate_host_key('Gen-1', pg_temp.key('1c'), 60, now() + interval '1 day') ->> 'outcome', 'rotated',
  'rotated once more');
select is(pg_temp.keys('gen-1'), array[pg_temp.key('1c'), pg_temp.key('1b')], 'there are two at most: the first ended at once');
select is((select expires_at from storage_host_keys where sha256 = pg_temp.key('1b')), now() + interval '1 minute',
  'and the one before goes on');
update storage_host_keys set expires_at = now() + interval '10 seconds' where sha256 = pg_temp.key('1c');
select is((storage_rotate_host_key('gen-1', pg_temp.key('1d'), 3600) ->> 'earlier_ends_at')::timestamptz,
  now() + interval '10 seconds', 'one that ends sooner is not made to last');
update storage_host_keys set expires_at = now() where sha256 = pg_temp.key('1d');
update storage_host_keys set expires_at = now() where sha256 = pg_temp.key('1c');
select is(storage_rotate_host_key('gen-1', pg_temp.key('1e'), 3600), '{"outcome": "rotated", "earlier_ends_at": null}',
  'what has ended does not go on');
select is(pg_temp.keys('gen-1'), array[pg_temp.key('1e')], 'and goes');
select is(storage_rotate_host_key('gen-9', pg_temp.key('9'), 60), '{"outcome": "missing"}', 'one that is not there has no key');

-- Projects ---------------------------------------------------------------------------------------
select is(storage_assign_projects('gen-2', array['b', 'c']), '{"outcome": "assigned", "assigned": 1}',
  'projects are assigned, also again');
select is(storage_assign_projects('gen-9', array['b']), '{"outcome": "missing"}', 'not to one that is not there');

-- Revoked ----------------------------------------------------------------------------------------
select is(storage_revoke_host('GEN-2'), '{"outcome": "revoked"}', 'a host is revoked');
select is((select count(*) from storage_host_keys where sha256 = pg_temp.key('2')), 0::bigint, 'its key is gone');
select is(pg_temp.host('gen-2') -> 'keys', '[]', 'it is listed all the same');
select is(storage_revoke_host('gen-2'), '{"outcome": "was_revoked"}', 'again and again, if need be');
select is(storage_revoke_host('gen-9'), '{"outcome": "missing"}', 'unless it never was');
select is(storage_add_host('gen-2', pg_temp.key('2b')) ->> 'outcome', 'added', 'its name is free again');
select is(jsonb_path_query_array(storage_list_hosts(2), '$[*].name'), '["gen-1", "gen-2"]', 'those that are revoked come last');

-- What a host had that is revoked --------------------------------------------------------------------
select is(storage_assign_projects_of('gen-1', 'gen-9'), '{"outcome": "missing_from"}', 'of one that never was nothing is given');
select is(storage_assign_projects_of('gen-9', 'gen-2'), '{"outcome": "missing"}', 'nor to one that never was');
select is(storage_assign_projects_of('gen-2', 'gen-1'), '{"outcome": "not_revoked"}', 'nor of one that goes on');
select is(storage_assign_projects_of('gen-2', 'gen-2'), '{"outcome": "assigned", "assigned": 3}',
  'of one that was revoked all is given, also where its name was given again');
select is((pg_temp.host('gen-2') ->> 'projects')::integer, 3, 'what it was assigned');
select is(storage_assign_projects_of('gen-2', 'gen-2'), '{"outcome": "assigned", "assigned": 0}', 'also again');

select * from finish();
rollback;
