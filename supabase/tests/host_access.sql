-- What a host does with its key: nothing of another's is read, overwritten, deleted or taken over.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(101);

create function pg_temp.key(n text) returns text language sql as $$ select encode(sha256(n::bytea), 'hex') $$;
-- What follows is done with the secret key.
create function pg_temp.secret() returns text language sql as $$ select set_config('codebegen.host', '', true) $$;
create function pg_temp.item(p text, n integer, digest text, more jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object('project_id', p, 'version', n, 'generation_id', 'g' || n, 'bucket', 'elsewhere',
    'digest', digest, 'sha256', 's-' || digest, 'md5', 'm-' || digest, 'archive_bytes', 10, 'source_bytes', 20,
    'file_count', 1, 'created_at', '2026-11-01T00:00:00Z', 'replace', false,
    'host_id', '00000000-0000-4000-8000-000000000001') || more
$$;
create function pg_temp.reserve(k text, item jsonb) returns jsonb language sql as $$
  select storage_host_reserve(pg_temp.key(k), jsonb_build_array(item)) -> 0
$$;
create function pg_temp.put(key text, digest text) returns void language sql as $$
  insert into storage.objects (bucket_id, name, metadata)
  values ('h', key, jsonb_build_object('eTag', '"m-' || digest || '"', 'size', 10))
$$;
create function pg_temp.record(k text, p text, n integer, digest text, key text, more jsonb default '{}') returns jsonb
language sql as $$
  select storage_host_record(pg_temp.key(k), jsonb_build_array(jsonb_build_object(
    'project_id', p, 'version', n, 'object_key', key, 'sha256', 's-' || digest, 'status', 'uploaded',
    'md5', 'm-' || digest, 'manifest', '{}'::jsonb) || more)) -> 0
$$;
-- Saved whole.
create function pg_temp.save(k text, p text, n integer, digest text, more jsonb default '{}') returns text
language plpgsql as $$
declare
  key text := pg_temp.reserve(k, pg_temp.item(p, n, digest, more)) ->> 'object_key';
begin
  perform pg_temp.put(key, digest);
  return pg_temp.record(k, p, n, digest, key) ->> 'status';
end
$$;
create function pg_temp.remove(k text, p text, n integer, digests text[]) returns jsonb language sql as $$
  select storage_host_delete(pg_temp.key(k), jsonb_build_object('project_id', p, 'version', n, 'generation_id', 'g' || n,
    'digests', digests, 'host_id', '00000000-0000-4000-8000-000000000001', 'epoch', 0))
$$;
create function pg_temp.find(k text, p text, n integer) returns jsonb language sql as $$
  select nullif(storage_host_find(pg_temp.key(k), jsonb_build_array(jsonb_build_object('project_id', p, 'version', n)))
    #> '{0,row}', 'null')
$$;
create function pg_temp.highest(k text, p text, g text default null) returns text language sql as $$
  select storage_host_find(pg_temp.key(k), jsonb_build_array(jsonb_build_object('project_id', p, 'generation_id', g)))
    #>> '{0,highest_version}'
$$;
create function pg_temp.download(k text, p text, n integer, key text default null) returns text language sql as $$
  select storage_host_downloads(pg_temp.key(k), jsonb_build_array(jsonb_build_object('project_id', p, 'version', n,
    'object_key', key))) #>> '{0,object_key}'
$$;
create function pg_temp.changes(k text) returns text language sql as $$
  select string_agg(item ->> 'project_id' || (item ->> 'version') || (item ->> 'status'), ' ' order by item -> 'number')
  from jsonb_array_elements(storage_host_list_changes(pg_temp.key(k), 100) -> 'items') item
$$;
create function pg_temp.row_of(p text, n integer) returns public.storage_generations language sql as $$
  select * from public.storage_generations where project_id = p and version = n
$$;

insert into storage.buckets (id, name, public) values ('h', 'h', false);
select storage_add_host('ada', pg_temp.key('a'), 'own', 'own', '{}', null, 'h');
select storage_add_host('bob', pg_temp.key('b'), 'own', 'own', array['h-given'], null, 'h');
select storage_add_host('reader', pg_temp.key('r'), 'all', 'none', '{}', null, 'h');
select storage_add_host('late', pg_temp.key('l'), 'own', 'own', '{}', now(), 'h');
select storage_add_host('gone', pg_temp.key('g'), 'own', 'own', '{}', null, 'h');
select storage_revoke_host('gone');

-- The key ----------------------------------------------------------------------------------------
select is(storage_host_check(pg_temp.key('a'), null, 0) - 'expires_at',
  '{"name": "ada", "read": "own", "delete": "own", "bucket": "h"}', 'a key opens what its host may');
select throws_ok(format('select storage_host_check(%L, null, 0)', pg_temp.key(k)), 'PT401', null, why)
from (values ('x', 'a key that is nobody''s opens nothing'), ('l', 'nor one that has ended'), ('g', 'nor one that was revoked'))
  as bad (k, why);
select is((storage_host_check(pg_temp.key('a'), '00000000-0000-4000-8000-000000000001', 0) ->> 'outcome'), 'known', 'a host checks in');
select is((storage_host_check(pg_temp.key('b'), '00000000-0000-4000-8000-000000000001', 5) ->> 'outcome'), 'older',
  'and is counted apart from another that says the same id');
select is((storage_host_check(pg_temp.key('a'), '00000000-0000-4000-8000-000000000001', 1) ->> 'outcome'), 'known', 'which stays as it was');
select storage_host_seen(pg_temp.key('a'));
select isnt((select last_seen_at from storage_hosts where name = 'ada'), null, 'it was seen');
update storage_hosts set last_seen_at = now() - interval '50 seconds' where name = 'ada';
select storage_host_seen(pg_temp.key('a'));
select is((select last_seen_at from storage_hosts where name = 'ada'), now() - interval '50 seconds', 'which is noted once a minute');

-- Saving -----------------------------------------------------------------------------------------
select is(pg_temp.reserve('a', pg_temp.item('h-ada', 1, 'd1', '{"owner_id": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"}'))
  - 'unneeded' - 'sha256', '{"project_id": "h-ada", "version": 1, "bucket": "h", "outcome": "reserved", "status": "pending",
  "object_key": "h-ada/generations/v1__g1.tar.gz", "owner_id": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"}',
  'a host creates a project, with its owner, in its own bucket');
select is(jsonb_array_length(storage_host_uploads(pg_temp.key('a'), array['h-ada/generations/v1__g1.tar.gz'])), 1, 'it may send what it reserved');
select is(storage_host_uploads(pg_temp.key('b'), array['h-ada/generations/v1__g1.tar.gz']), '[]', 'no other may: a key at another host''s reservation');
select is(pg_temp.record('a', 'h-ada', 1, 'd1', 'h-ada/generations/v1__g1.tar.gz') ->> 'outcome', 'absent', 'what was never uploaded is not recorded');
select pg_temp.put('h-ada/generations/v1__g1.tar.gz', 'd1');
select is(storage_host_uploads(pg_temp.key('a'), array['h-ada/generations/v1__g1.tar.gz']), '[]', 'what lies there is not sent again');
select is(pg_temp.record('b', 'h-ada', 1, 'd1', 'h-ada/generations/v1__g1.tar.gz'),
  '{"project_id": "h-ada", "version": 1, "outcome": "missing"}', 'no other host records it');
select is(pg_temp.record('b', 'h-ada', 9, 'd1', 'h-ada/generations/v9__g9.tar.gz'),
  '{"project_id": "h-ada", "version": 9, "outcome": "missing"}', 'which looks like what is not there');
select is(pg_temp.record('a', 'h-ada', 1, 'd1', 'h-ada/generations/v1__g1.tar.gz', '{"md5": "m-x", "status": "verified"}') ->> 'status',
  'uploaded', 'that it is verified no host says');
select is(pg_temp.record('a', 'h-ada', 1, 'd1', 'h-ada/generations/v1__g1.tar.gz') ->> 'status', 'verified', 'but what Storage has');
select is((pg_temp.row_of('h-ada', 1)).reserved_by, (select id from storage_hosts where name = 'ada'), 'who saved it is noted');
select is(pg_temp.save('a', 'h-ada', 2, 'd2'), 'verified', 'it saves on');
select is(storage_host_prove(pg_temp.key('b'), 'h-ada', 2, 'h-ada/generations/v2__g2.tar.gz', 's-d2') ->> 'outcome', 'missing',
  'another proves nothing of it');
update storage_generations set status = 'uploaded', verified_at = null where project_id = 'h-ada' and version = 2;
select is(storage_host_prove(pg_temp.key('a'), 'h-ada', 2, 'h-ada/generations/v2__g2.tar.gz', 's-x') ->> 'outcome', 'missing', 'nor do other bytes');
select is(storage_host_prove(pg_temp.key('a'), 'h-ada', 2, 'h-ada/generations/v2__g2.tar.gz', 's-d2') ->> 'status', 'verified', 'what was read does');

-- Where a host may write -------------------------------------------------------------------------
select is(pg_temp.reserve('b', pg_temp.item('h-ada', 1, 'd1')) - 'reason' - 'bucket',
  '{"project_id": "h-ada", "version": 1, "outcome": "conflict", "cause": "project", "unneeded": []}', 'a project of another host is not written to');
select is(pg_temp.reserve('b', pg_temp.item('h-ada', 8, 'd8')) - 'version' - 'reason',
  (pg_temp.reserve('b', pg_temp.item('H-ADA', 1, 'd1')) || '{"project_id": "h-ada"}') - 'version' - 'reason', 'nor in other case, which looks the same');
select pg_temp.secret();
insert into storage_projects (id, owner_id) values ('h-user', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'), ('h-nobody', null),
  ('h-given', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb');
select is(pg_temp.reserve('a', pg_temp.item('h-user', 8, 'd8')) ->> 'cause', 'project', 'v8 is not added to a user''s project that is not assigned');
select is(pg_temp.reserve('a', pg_temp.item('h-nobody', 1, 'd1', '{"owner_id": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"}')) ->> 'cause',
  'project', 'a project without an owner is not claimed');
select is(storage_host_set_owner(pg_temp.key('a'), 'h-nobody', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), '{"outcome": "missing"}', 'nor by its owner');
select is((select owner_id from storage_projects where id = 'h-nobody'), null, 'it stays nobody''s');
select is((select count(*)::integer from storage_generations where project_id in ('h-user', 'h-nobody')), 0, 'and nothing is in it');
select is(pg_temp.reserve('b', pg_temp.item('h-give', 1, 'd1')) ->> 'outcome', 'reserved', 'a project whose id begins like that of an assigned one');
select is(storage_may_write((select h from storage_hosts h where name = 'bob'), p), p.id = 'h-given',
  'is another: projects are named exactly') from storage_projects p where id in ('h-given', 'h-ada') order by id;

-- Assigned, with what others saved there -----------------------------------------------------------
select pg_temp.secret();
select storage_reserve_generation(pg_temp.item('h-given', 1, 'd1', '{"bucket": "h"}'));
select pg_temp.put('h-given/generations/v1__g1.tar.gz', 'd1');
select storage_record_generation('{"project_id": "h-given", "version": 1, "bucket": "h", "object_key": "h-given/generations/v1__g1.tar.gz",
  "sha256": "s-d1", "status": "verified", "md5": "m-d1"}');
select is(pg_temp.reserve('b', pg_temp.item('h-given', 1, 'd1')) - 'bucket', '{"project_id": "h-given", "version": 1, "outcome": "conflict",
  "cause": "version", "reason": "the version is taken", "unneeded": []}', 'of what another saved it learns that the version is taken');
select is(pg_temp.highest('b', 'h-given'), '1', 'as when it asks which are');
select is(pg_temp.highest('b', 'h-given', 'g1'), '0', 'but not whose');
select is(pg_temp.find('b', 'h-given', 1), null, 'nor what it holds');
select is(pg_temp.download('b', 'h-given', 1), null, 'nor the bytes');
select is(pg_temp.remove('b', 'h-given', 1, null), '{"outcome": "other"}', 'nor does it go');
select is(pg_temp.reserve('b', pg_temp.item('h-given', 2, 'd1', '{"owner_id": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"}')) - 'unneeded' - 'bucket' - 'object_key' - 'sha256',
  '{"project_id": "h-given", "version": 2, "outcome": "reserved", "status": "pending", "owner_id": null}',
  'it saves the next: an equal digest passes no ownership on, and whose the project is it is not told');
select is((select owner_id::text from storage_projects where id = 'h-given'), 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb', 'the owner stays');
update storage_projects set owner_id = null where id = 'h-given';
select is(pg_temp.reserve('b', pg_temp.item('h-given', 3, 'd1', '{"owner_id": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"}')) ->> 'outcome',
  'reserved', 'also where there is none');
select is(storage_host_set_owner(pg_temp.key('b'), 'h-given', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), '{"outcome": "missing"}', 'not all of it is its own');
select is((select owner_id from storage_projects where id = 'h-given'), null, 'no owner is set');
select is(storage_host_set_owner(pg_temp.key('a'), 'h-ada', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb') ->> 'outcome', 'conflict', 'no project is transferred');
-- Bob is given it once more, and has what came by the secret key.
select is(storage_assign_projects('bob', array['h-given']) ->> 'assigned', '0', 'assigned again');
select is(pg_temp.find('b', 'h-given', 1) ->> 'sha256', 's-d1', 'what came by the secret key is the host''s');
select storage_assign_projects('bob', array['h-ada']);
select is(pg_temp.find('b', 'h-ada', 1), null, 'what another host saved is not');
select is(storage_host_set_owner(pg_temp.key('b'), 'h-ada', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'), '{"outcome": "missing"}', 'nor is the project');
delete from storage_host_projects where project_id = 'h-ada';

-- Keys that a request names ------------------------------------------------------------------------
select is(pg_temp.reserve('b', pg_temp.item('h-bob', 1, 'd5', '{"object_key": "h-ada/generations/v1__g1.tar.gz", "sent_key": "h-ada/project.json",
  "earlier_keys": ["h-bob/generations/v1__x.tar.gz"]}')) ->> 'object_key', 'h-bob/generations/v1__g1.tar.gz', 'a key is what the database gives');
select is((select count(*)::integer from storage_archives where object_key in ('h-ada/project.json', 'h-bob/generations/v1__x.tar.gz')), 0,
  'what a host says of others is not taken');
select is(pg_temp.record('b', 'h-bob', 1, 'd1', 'h-ada/generations/v1__g1.tar.gz') ->> 'outcome', 'missing', 'another''s key is not recorded as one''s own');

-- Reading ----------------------------------------------------------------------------------------
select is(pg_temp.find('a', 'h-ada', 1) - 'epoch' - 'sha256' - 'archive_bytes', '{"project_id": "h-ada", "version": 1, "generation_id": "g1", "bucket": "h",
  "status": "verified", "digest": "d1", "object_key": "h-ada/generations/v1__g1.tar.gz"}', 'a host finds what is its own');
select is(pg_temp.find('b', 'h-ada', 1), pg_temp.find('b', 'h-none', 1), 'another finds nothing, as where there is nothing');
select is(pg_temp.highest('b', 'h-ada'), '0', 'no version');
select is(pg_temp.download('a', 'h-ada', 1), 'h-ada/generations/v1__g1.tar.gz', 'a host downloads what is its own');
select is(pg_temp.download('b', 'h-ada', 1), null, 'another does not');
select is(pg_temp.download('b', 'h-bob', 1, 'h-ada/generations/v1__g1.tar.gz'), null, 'nor under a name of its own');
select is(pg_temp.download('r', 'h-ada', 1), 'h-ada/generations/v1__g1.tar.gz', 'who reads all does');
select is(pg_temp.reserve('r', pg_temp.item('h-ada', 3, 'd3')) ->> 'cause', 'project', 'and writes nothing there');
select throws_ok($$ select pg_temp.remove('r', 'h-ada', 1, null) $$, 'PT403', null, 'who has no right to delete does not');
select throws_ok(format($$ select storage_host_undelete(%L, 'h-ada', 1) $$, pg_temp.key('r')), 'PT403', null, 'nor undelete');
select throws_ok(format($$ select storage_host_purge(%L, 1) $$, pg_temp.key('r')), 'PT403', null, 'nor purge');
select is((select string_agg(item ->> 'project_id', ' ') from jsonb_array_elements(storage_host_list_projects(pg_temp.key('b'), 10)) item),
  'h-bob h-give h-given', 'a host lists its own projects');
select is((select string_agg(item ->> 'project_id', ' ') from jsonb_array_elements(storage_host_list_projects(pg_temp.key('r'), 1000)) item
  where item ->> 'project_id' ~ '^h-(ada|bob|user)$'), 'h-ada h-bob h-user', 'who reads all lists all');
select is(jsonb_array_length(storage_host_list_generations(pg_temp.key('b'), 10, 'h-ada')), 0, 'no generation of another''s');
select is(jsonb_array_length(storage_host_list_generations(pg_temp.key('a'), 10, 'h-ada')), 2, 'its own');

-- Changing ---------------------------------------------------------------------------------------
select is(pg_temp.remove('b', 'h-ada', 1, array['d1']), pg_temp.remove('b', 'h-none', 1, array['d1']), 'another''s is not deleted, as what is not there');
select is((pg_temp.row_of('h-ada', 1)).status, 'verified', 'it stays');
select is((select count(*)::integer from storage_projects where id = 'h-none'), 0, 'and nothing comes into being');
select is(pg_temp.remove('a', 'h-ada', 1, array['d1']) ->> 'outcome', 'recorded', 'its own is');
select is(pg_temp.remove('a', 'h-ada', 7, array['d7']) ->> 'outcome', 'recorded', 'also what never got there: a reservation finds the tombstone');
select is(pg_temp.changes('a'), 'h-ada1deleted h-ada7deleted', 'it hears of it');
select is(pg_temp.changes('b'), null, 'another does not');
select is(pg_temp.changes('r') ~ 'h-ada1deleted', true, 'who reads all does');
select is((storage_host_list_changes(pg_temp.key('b'), 100) ->> 'through')::bigint, storage_last_change(),
  'it does not look at that again');
select is(storage_host_list_changes(pg_temp.key('b'), 100, 0, 1) - 'through',
  '{"items": [], "has_more": true}', 'it looks at so many at once');
select is((storage_host_list_changes(pg_temp.key('a'), 1) #>> '{items,0,number}'),
  storage_host_list_changes(pg_temp.key('a'), 1) ->> 'through', 'a page that is full goes on after its last one');
select is(storage_host_list_changes(pg_temp.key('a'), 1) -> 'has_more', 'true', 'as there may be more');
select is(storage_host_list_changes(pg_temp.key('a'), 100) -> 'has_more', 'false', 'until there is not');
select is(pg_temp.record('a', 'h-ada', 1, 'd1', 'h-ada/generations/v1__g1.tar.gz') ->> 'outcome', 'deleted', 'a record that is said again after a deletion changes nothing');
select is(storage_host_undelete(pg_temp.key('b'), 'h-ada', 1), '{"outcome": "missing"}', 'another does not undo it');
select is(storage_host_undelete(pg_temp.key('a'), 'h-ada', 1) ->> 'outcome', 'undeleted', 'the host does');
select pg_temp.remove('a', 'h-ada', 2, array['d2']);
update storage_generations set purge_at = now() where project_id = 'h-ada' and version = 2;
select is(storage_host_purge(pg_temp.key('b'), 10), '{"objects": [], "contents": 0, "generations": 0}', 'another purges nothing of it');
select is(storage_host_purge(pg_temp.key('a'), 10) - 'objects', '{"contents": 0, "generations": 1}', 'the host purges what is due');
select is(pg_temp.record('a', 'h-ada', 2, 'd2', 'h-ada/generations/v2__g2.tar.gz') ->> 'outcome', 'deleted', 'a record that is said again after a purge changes nothing');
select is((pg_temp.row_of('h-ada', 2)).purged_at, now(), 'it stays purged');
select is(storage_host_activate(pg_temp.key('b'), 'h-ada', 1, 'g1', now()), '{"outcome": "missing"}', 'another makes nothing active');
select is(storage_host_activate(pg_temp.key('a'), 'h-ada', 1, 'g1', now()) ->> 'outcome', 'set', 'the host does');
select is(jsonb_array_length(storage_host_list_active(pg_temp.key('a'), 10)), 1, 'and hears of it');
select is(jsonb_array_length(storage_host_list_active(pg_temp.key('b'), 10)), 0, 'another does not');
select is(storage_host_fail(pg_temp.key('b'), 'h-give', 1, 'g1', 'd1', 'too large') ->> 'outcome', 'recorded', 'a host tells why it gave up');
select is(storage_host_fail(pg_temp.key('a'), 'h-give', 1, 'g1', 'd1', 'mine') ->> 'outcome', 'other', 'another does not');

-- Replaced by the secret key: what is there is not the host's any more ---------------------------------
select pg_temp.secret();
select storage_reserve_generation(pg_temp.item('h-ada', 1, 'd9', '{"bucket": "h", "replace": true}'));
select pg_temp.put('h-ada/generations/v1__g1.s-d9.tar.gz', 'd9') where exists (
  select 1 from storage_archives where object_key = 'h-ada/generations/v1__g1.s-d9.tar.gz');
select is(storage_record_generation(jsonb_build_object('project_id', 'h-ada', 'version', 1, 'bucket', 'h', 'object_key', a.object_key,
  'sha256', 's-d9', 'status', 'uploaded', 'md5', 'm-d9')) ->> 'outcome', 'recorded', 'it is replaced')
from storage_archives a where a.project_id = 'h-ada' and a.version = 1 and a.digest = 'd9';
select is(pg_temp.find('a', 'h-ada', 1) - 'epoch' - 'generation_id' - 'bucket' - 'status', '{"project_id": "h-ada", "version": 1, "digest": "d9",
  "object_key": "", "sha256": null, "archive_bytes": null}', 'the host hears which content that is');
select is(pg_temp.download('a', 'h-ada', 1), null, 'and reads none of it');
select is(pg_temp.reserve('a', pg_temp.item('h-ada', 1, 'd10', '{"replace": true}')) ->> 'cause', 'version', 'nor replaces it');
select is(pg_temp.remove('a', 'h-ada', 1, null), '{"outcome": "other"}', 'nor deletes it');

-- A host that burnt ------------------------------------------------------------------------------
select storage_revoke_host('bob');
select storage_assign_projects('ada', array['h-bob', 'h-given']);
select is(pg_temp.find('a', 'h-given', 1) ->> 'sha256', 's-d1', 'what a revoked host saved goes to the one that is given its projects');
select is(pg_temp.find('a', 'h-bob', 1) ->> 'status', 'pending', 'all of it');

-- Who may call -----------------------------------------------------------------------------------
select is(count(*)::integer, 0, 'no user may call any of it')
from pg_proc p cross join unnest(array['anon', 'authenticated']) role
where p.pronamespace = 'public'::regnamespace and p.proname ~ '^storage_(host_|may_write|holds_all|had_part|current_host)'
  and has_function_privilege(role, p.oid, 'execute');

select * from finish();
rollback;
