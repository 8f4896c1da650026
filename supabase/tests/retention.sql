-- What is deleted or replaced, for as long as that can be undone; what goes for good; and the feed of it.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(125);

-- Others may have something to purge, too.
update public.storage_generations set purge_at = null where purge_at is not null;
update public.storage_archives set purge_at = null where state = 'kept';
delete from public.storage_settings where name = 'undelete_days';

insert into public.storage_projects (id, owner_id, name, active_version) values
  ('ret-a', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'Shop', 2),
  ('ret-b', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb', null, null);
insert into public.storage_generations (project_id, version, generation_id, bucket, object_key, status,
    digest, sha256, archive_bytes, source_bytes, file_count, uploaded_at, verified_at)
select p, n, 'g' || n, 'r', format('%s/%s', p, n), 'verified', 'd' || n, 's' || n, 10, 20, 1, now(), now()
from unnest(array['ret-a', 'ret-b']) p, generate_series(1, 3) n;
update public.storage_generations set status = 'uploaded', verified_at = null where project_id = 'ret-a' and version = 1;
insert into public.storage_generations (project_id, version, generation_id, bucket, object_key, digest) values
  ('ret-a', 4, 'g4', 'r', 'ret-a/4', 'd4');
update public.storage_generations set status = 'failed', failure = 'too large' where project_id = 'ret-a' and version = 4;
insert into public.storage_manifests (project_id, version, manifest)
select project_id, version, jsonb_build_object('digest', digest) from public.storage_generations
where project_id like 'ret-_' and version < 4;
insert into storage.buckets (id, name, public) values ('r', 'r', false);
insert into storage.objects (bucket_id, name, metadata)
select 'r', object_key, '{"eTag": "\"m\"", "size": 10}' from public.storage_generations
where project_id like 'ret-_' and version < 4;

create function pg_temp.sign_in(id text) returns void language sql as $$
  select set_config('request.jwt.claims', json_build_object('sub', id, 'role', 'authenticated')::text, true),
    set_config('request.jwt.claim.sub', id, true), set_config('role', 'authenticated', true)
$$;
create function pg_temp.ada() returns void language sql as $$
  select pg_temp.sign_in('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa')
$$;
create function pg_temp.grace() returns void language sql as $$
  select pg_temp.sign_in('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb')
$$;
create function pg_temp.state(key text) returns text language sql as $$
  select state from public.storage_archives where bucket = 'r' and object_key = key
$$;
-- As if the time of what was deleted had passed.
create function pg_temp.pass() returns void language sql as $$
  update public.storage_generations set purge_at = now() where purge_at is not null;
  update public.storage_archives set purge_at = now() where state = 'kept' and purge_at is not null;
$$;

-- A deletion ------------------------------------------------------------------------------------
select pg_temp.ada();
select is(storage_delete_generation('ret-a', 2) - 'undelete_until', '{"generation_id": "g2", "objects": []}',
  'a deletion removes no object');
reset role;
select is((select purge_at from storage_generations where project_id = 'ret-a' and version = 2), now() + interval '7 days',
  'but keeps it for seven days');
select is((select active_version from storage_projects where id = 'ret-a'), null, 'it is active no more');
select is(pg_temp.state('ret-a/2'), 'kept', 'its archive is kept');
select is((select count(*) from storage_manifests where project_id = 'ret-a' and version = 2), 1::bigint,
  'and its manifest');
select pg_temp.ada();
select is((select count(*) from storage_generations where version = 2), 0::bigint, 'its owner sees no row of it');
select is((select count(*) from storage_manifests where version = 2), 0::bigint, 'no manifest');
select is((select count(*) from storage.objects where name = 'ret-a/2'), 0::bigint, 'and no object');
select is(storage_get_generation('ret-a', 2), null, 'nothing gives it out');
select is(storage_list_files('ret-a', 2, 'source', 10), null, 'nor its files');
select is(jsonb_path_query_array(storage_list_generations('ret-a', 10), '$[*].version'), '[4, 3, 1]', 'it is not listed');
select is(storage_usage() ->> 'generations', '3', 'nor counted');
select is(storage_activate_generation('ret-a', 2), false, 'nor can it be active');
select is(storage_delete_generation('ret-a', 2), null, 'there is nothing left to delete');
select is(jsonb_path_query_array(storage_list_deleted('ret-a', 10), '$[*].version'), '[2]', 'it is listed as deleted');
select is(storage_list_deleted('ret-a', 10) -> 0 ->> 'status', 'deleted', 'with its state');
select is(storage_list_deleted('ret-b', 10), null, 'another''s deletions are nobody''s business');
select is(storage_list_deleted('nope', 10), null, 'as those of no project');
select pg_temp.grace();
select is(storage_undelete_generation('ret-a', 2), null, 'nor does another undo one');
select is(storage_undelete_project('ret-a'), null, 'nor of a project');
select is(storage_delete_generation('ret-a', 2, null, true), null, 'nor purge it');
select throws_ok($$ select storage_undelete('ret-a', 2, null) $$, '42501', null, 'a user does not ask as a host');
select throws_ok($$ select storage_purge(1) $$, '42501', null, 'nor purge');
select throws_ok($$ select storage_give_up('ret-a', 2) $$, '42501', null, 'nor give up what is another''s');
select throws_ok($$ select * from storage_changes $$, '42501', null, 'nor read the feed');

-- Undone ------------------------------------------------------------------------------------------
select pg_temp.ada();
select is(storage_undelete_generation('ret-a', 2, 'other') ->> 'outcome', 'missing', 'under its own id alone');
select is(storage_undelete_generation('ret-a', 2) - 'epoch',
  '{"outcome": "undeleted", "generation_id": "g2", "digest": "d2", "status": "verified"}', 'its owner undoes it');
select is(storage_undelete_generation('ret-a', 2) ->> 'outcome', 'live', 'a repeat changes nothing');
select is(storage_get_generation('ret-a', 2) ->> 'active', 'true', 'it is the active one again');
select is((select count(*) from storage.objects where name = 'ret-a/2'), 1::bigint, 'its object can be read');
select is((select count(*) from storage_manifests where version = 2), 1::bigint, 'and its manifest');
select is(storage_list_deleted('ret-a', 10), '[]', 'nothing is listed as deleted');
reset role;
select is(pg_temp.state('ret-a/2'), 'current', 'its archive is what the row names');
select is((select purge_at from storage_archives where object_key = 'ret-a/2'), null, 'and kept for good');

select pg_temp.ada();
select storage_delete_generation('ret-a', 2), storage_activate_generation('ret-a', 3), storage_undelete_generation('ret-a', 2);
select is((select active_version from storage_projects), 3, 'what was made active since stays so');
select storage_delete_generation('ret-a', 1), storage_undelete_generation('ret-a', 1);
select is((select status from storage_generations where version = 1), 'uploaded', 'what was not proven is not proven');
select storage_delete_generation('ret-a', 4), storage_undelete_generation('ret-a', 4);
select is((select row(status, failure)::text from storage_generations where version = 4), '(failed,"too large")',
  'what failed has failed');
select storage_delete_generation('ret-a', 1);
reset role;
select set_config('storage.allow_delete_query', 'true', true);
delete from storage.objects where name = 'ret-a/1';
select pg_temp.ada();
select is(storage_undelete_generation('ret-a', 1) ->> 'status', 'pending', 'what the bucket lost is to be sent again');

-- A project ---------------------------------------------------------------------------------------
select storage_delete_generation('ret-a', 1);
reset role;
update storage_generations set deleted_at = now() - interval '1 hour' where project_id = 'ret-a' and version = 1;
select pg_temp.ada();
select is(storage_delete_project('ret-a', 10) - 'undelete_until', '{"objects": [{"bucket": "r", "object_key": "ret-a/4"}]}',
  'of a project goes what is not there yet');
select is(storage_list_projects(10), '[]', 'it is not listed');
select is(storage_list_generations('ret-a', 10), null, 'nor what was in it');
select is(storage_list_deleted_projects(10) -> 0 ->> 'versions', '3', 'but as deleted, with what comes back with it');
select is(storage_list_deleted_projects(10, 'infinity', '') #>> '{0,archive_bytes}', '20', 'and its bytes');
select is(storage_list_deleted_projects(10, '-infinity', ''), '[]', 'once');
select pg_temp.grace();
select is(storage_list_deleted_projects(10), '[]', 'to its owner');
select pg_temp.ada();
select is(storage_undelete_project('ret-a'), '{"outcome": "undeleted", "versions": 3}', 'it comes back');
select is(jsonb_path_query_array(storage_list_generations('ret-a', 10), '$[*].version'), '[4, 3, 2]',
  'without what had been deleted before');
select is((select active_version from storage_projects), 3, 'with what was active');
select is(storage_undelete_project('ret-a') ->> 'outcome', 'live', 'a repeat changes nothing');
select storage_delete_project('ret-a', 10), storage_undelete_generation('ret-a', 2);
select results_eq('select version from storage_generations', array[2], 'one generation brings its project back');
select storage_undelete_generation('ret-a', 3), storage_undelete_generation('ret-a', 4);

-- Replaced content ----------------------------------------------------------------------------------
reset role;
set local role service_role;
create function pg_temp.replace(letter text, at text) returns jsonb language plpgsql as $$
declare
  item jsonb := jsonb_build_object('project_id', 'ret-b', 'version', 1, 'generation_id', 'g1', 'bucket', 'r',
    'digest', repeat(letter, 64), 'sha256', repeat(letter, 64), 'archive_bytes', 10, 'source_bytes', 1, 'file_count', 1,
    'created_at', at, 'replace', true);
  key text := storage_reserve_generation(item) ->> 'object_key';
begin
  insert into storage.objects (bucket_id, name, metadata)
  values ('r', key, '{"eTag": "\"m\"", "size": 10}') on conflict do nothing;
  return storage_record_generation(jsonb_build_object('project_id', 'ret-b', 'version', 1, 'bucket', 'r',
    'object_key', key, 'sha256', repeat(letter, 64), 'status', 'uploaded', 'md5', 'm',
    'manifest', jsonb_build_object('digest', repeat(letter, 64))));
end
$$;
select is(pg_temp.replace('e', '2026-02-01T00:00:00Z') -> 'unneeded', '[]', 'a replacement removes nothing at once');
select is(pg_temp.state('ret-b/1'), 'kept', 'what was there is kept');
reset role;
select pg_temp.grace();
select is(storage_list_deleted('ret-b', 10) #>> '{0,replaced,0,digest}', 'd1', 'and listed');
select is(storage_list_deleted('ret-b', 10) #>> '{0,status}', 'verified', 'with the generation, which is there');
select is(storage_undelete_generation('ret-b', 1, null, 'zz') ->> 'outcome', 'no_content', 'what it never held does not come');
select is(storage_undelete_generation('ret-b', 1, null, 'd1') ->> 'digest', 'd1', 'what it held does');
select is((select manifest ->> 'digest' from storage_manifests where version = 1), 'd1', 'with its manifest');
select is((select row(status, sha256, archive_bytes)::text from storage_generations where version = 1), '(verified,s1,10)',
  'and all that is known of it');
select is(storage_list_deleted('ret-b', 10) #>> '{0,replaced,0,digest}', repeat('e', 64), 'in turn the other is kept');
select is((select count(*) from storage.objects where name = 'ret-b/1'), 1::bigint, 'the object can be read again');
select is((select count(*) from storage.objects where name like 'ret-b/generations/v1%'), 0::bigint, 'the other one no more');
select storage_delete_generation('ret-b', 1);
select is(storage_undelete_generation('ret-b', 1, null, repeat('e', 64)) ->> 'digest', repeat('e', 64),
  'a deleted one comes back with what it held before');
reset role;
select is((select string_agg(state, ',' order by object_key) from storage_archives where project_id = 'ret-b' and version = 1),
  'kept,current', 'one of its archives is current');
set local role service_role;
select is(pg_temp.replace('f', '2026-02-02T00:00:00Z') ->> 'outcome', 'recorded', 'it is replaced again');
select is(storage_record_generation(jsonb_build_object('project_id', 'ret-b', 'version', 1, 'bucket', 'r', 'object_key', 'ret-b/1',
  'sha256', 's1', 'status', 'uploaded')) ->> 'outcome', 'superseded', 'a late record of what was replaced is told so');
select is(pg_temp.state('ret-b/1'), 'kept', 'and takes nothing away');

-- Purged ----------------------------------------------------------------------------------------
select is(storage_purge(100) - 'objects', '{"contents": 0, "generations": 0}', 'nothing goes before its time');
reset role;
select pg_temp.ada();
select storage_delete_generation('ret-a', 2);
reset role;
select pg_temp.pass();
select pg_temp.ada();
select isnt(storage_undelete_generation('ret-a', 2), null, 'what is due can be undone until somebody purges it');
select storage_delete_generation('ret-a', 2);
reset role;
select pg_temp.pass();
set local role service_role;
select is(storage_purge(100) - 'objects', '{"contents": 2, "generations": 2}', 'then it goes, and what was replaced too');
select is(storage_purge(100) - 'objects', '{"contents": 0, "generations": 0}', 'once');
reset role;
select pg_temp.ada();
select is(storage_undelete_generation('ret-a', 2) ->> 'outcome', 'purged', 'it cannot be undone any more');
select is(storage_list_deleted('ret-a', 10), '[]', 'nor is it listed');
reset role;
select is((select row(status, digest, sha256, archive_bytes, source_bytes, file_count)::text from storage_generations
  where project_id = 'ret-a' and version = 2), '(deleted,d2,,,,)', 'the tombstone stays, with the digest');
select is((select count(*) from storage_manifests where project_id = 'ret-a' and version = 2), 0::bigint, 'the manifest is gone');
select is(pg_temp.state('ret-a/2'), 'unneeded', 'the object is to be removed');
select is((select count(*) from storage_archives where project_id like 'ret-_' and manifest is not null), 0::bigint,
  'as are the manifests of what was replaced');
select is((select status from storage_generations where project_id = 'ret-b' and version = 1), 'verified', 'what it holds now stays');
set local role service_role;
select is(storage_record_removals('[{"bucket": "r", "object_key": "ret-a/2"}]'), '{"outcome": "recorded", "freed_bytes": 10}',
  'what was removed is counted');
select is(storage_record_removals('[{"bucket": "r", "object_key": "ret-a/2"}, {"bucket": "r", "object_key": "ret-b/3"}]') ->> 'freed_bytes', '0',
  'once, and nothing that is there is noted as gone');
reset role;
select pg_temp.ada();
select is(jsonb_array_length(storage_delete_generation('ret-a', 3, null, true) -> 'objects'), 1, 'a purge tells its objects at once');
select isnt(storage_delete_generation('ret-a', 3, null, true), null, 'a repeat goes on while they are there');
select is(storage_undelete_generation('ret-a', 3) ->> 'outcome', 'purged', 'and cannot be undone');

-- Nothing is kept ---------------------------------------------------------------------------------
reset role;
select throws_ok($$ insert into storage_settings values ('undelete_days', '-1') $$, '23514', null, 'no days are less than none');
select throws_ok($$ insert into storage_settings values ('undelete_days', '"7"') $$, '23514', null, 'nor a text');
select pg_temp.grace();
select storage_delete_generation('ret-b', 2);
reset role;
update storage_generations set deleted_at = now() - interval '1 hour' where project_id = 'ret-b' and version = 2;
insert into storage_settings values ('undelete_days', '0');
select pg_temp.grace();
select is(storage_delete_project('ret-b', 10) -> 'objects' @> '[{"object_key": "ret-b/3"}]', true, 'without undelete all goes at once');
select is(storage_list_deleted_projects(10), '[]', 'and cannot be undone');
reset role;
select is(pg_temp.state('ret-b/2'), 'kept', 'what was deleted before keeps its time');

-- The feed ------------------------------------------------------------------------------------------
set local role service_role;
create function pg_temp.feed(after bigint default 0) returns jsonb language sql as $$
  select jsonb_path_query_array(storage_list_changes(1000000, after), '$[*] ? (@.project_id like_regex "^ret-")')
$$;
select is(jsonb_array_length(pg_temp.feed()), 7, 'a generation that changed is in it once');
select ok(storage_last_change() >= 7, 'the last number is told');
create temporary table seen as select max((change ->> 'number')::bigint) as number from jsonb_array_elements(pg_temp.feed()) change;
select is(pg_temp.feed((select number from seen)), '[]', 'nothing comes after the last one');
select storage_record_deletion('r', 'ret-a', 4, 'g4', '{d4}');
select is(jsonb_path_query_array(pg_temp.feed((select number from seen)), '$[*].status'), '["deleted"]', 'until something happens');
select is(pg_temp.feed((select number from seen)) #>> '{0,version}', '4', 'and it alone');
select is(storage_record_undeletion('ret-a', 4, 'g4') ->> 'outcome', 'purged', 'a host undoes what is kept alone');
update storage_settings set value = '7' where name = 'undelete_days';
select is(storage_record_deletion('r', 'new', 1, 'g', '{x}', p_must_be_known => true) ->> 'outcome', 'other',
  'what was never here, and must be, leaves no tombstone');
select is_empty('select from storage_projects where id = ''new''', 'nor a project');
select is(storage_record_deletion('r', 'new', 1, 'g', '{x}') -> 'kept', 'false', 'what was never here is not kept here');
select is(storage_record_undeletion('new', 1, 'g') ->> 'status', 'pending', 'but can be undone by whoever has it');

-- A host that comes late with a deletion that was undone.
select is(storage_record_deletion('r', 'new', 1, 'g', '{x}', null, null, now() - interval '1 hour') ->> 'outcome', 'undeleted',
  'what was undone since is not deleted again');
select is(storage_record_deletion('r', 'new', 1, 'g', '{x}', null, null, now() - interval '1 hour',
  (select epoch from storage_generations where project_id = 'new')) ->> 'outcome', 'recorded',
  'unless the host has heard of that, whatever its clock says');

-- What comes late ---------------------------------------------------------------------------------
select storage_reserve_generation('{"project_id": "ret-late", "version": 1, "generation_id": "g1", "bucket": "r", "digest": "d1", "sha256": "s1",
  "created_at": "2026-11-01T00:00:00Z", "replace": false, "undeleted_at": "2026-11-02T00:00:00Z",
  "host_id": "00000000-0000-4000-8000-00000000000a"}');
create function pg_temp.late(host text, at timestamptz, epoch integer default 0) returns text language sql as $$
  select storage_record_deletion('r', 'ret-late', 1, 'g1', array['d1'], ('00000000-0000-4000-8000-00000000000' || host)::uuid, null, at, epoch)
    ->> 'outcome'
$$;
select is(pg_temp.late('a', '2026-11-01T23:00:00Z'), 'undeleted',
  'a deletion that the host undid before it reserved comes late');
select is(storage_record_undeletion('ret-late', 1, 'g1') ->> 'epoch', '1', 'who has undone none of its own changes nothing');
select is(storage_record_undeletion('ret-late', 1, 'g1', null, '00000000-0000-4000-8000-00000000000a') - 'generation_id' - 'digest' - 'status', '{"outcome": "live", "epoch": 2}',
  'that it undid one which never got here is noted');
select is(pg_temp.late('a', now() - interval '1 second', 1), 'undeleted',
  'so that comes late too');
select is((select status from storage_generations where project_id = 'ret-late'), 'pending', 'and changes nothing');
select is(pg_temp.late('b', now() - interval '1 second', 0), 'recorded', 'that of another host was not undone');
select is((select status from storage_generations where project_id = 'ret-late'), 'deleted', 'and is carried out');

-- What got there, and nobody said so ------------------------------------------------------------
insert into public.storage_generations (project_id, version, generation_id, bucket, object_key, digest, sha256)
select 'ret-b', n, 'g' || n, 'r', 'ret-b/' || n, 'd' || n, 's' || n from generate_series(8, 9) n;
insert into public.storage_archives (bucket, object_key, project_id, version, digest, sha256, state)
select 'r', 'ret-b/' || n, 'ret-b', n, 'd' || n, 's' || n, 'expected' from generate_series(8, 9) n;
insert into storage.objects (bucket_id, name, metadata) values ('r', 'ret-b/8', '{"eTag": "\"m\"", "size": 10}');
select is(storage_record_deletion('r', 'ret-b', 8, 'g8', '{d8}') -> 'unneeded', '[]', 'what lies in the bucket is not removed');
select is(pg_temp.state('ret-b/8'), 'kept', 'but kept');
select is(storage_record_deletion('r', 'ret-b', 9, 'g9', '{d9}') -> 'unneeded', '[{"bucket": "r", "object_key": "ret-b/9"}]',
  'what is on its way is removed');
select is(storage_record_undeletion('ret-b', 8, 'g8') ->> 'status', 'uploaded', 'undone, it is there, and to be proven still');
select is(pg_temp.state('ret-b/8'), 'current', 'as its archive');
select is(storage_record_generation('{"project_id": "ret-b", "version": 8, "bucket": "r", "object_key": "ret-b/8",
  "digest": "d8", "sha256": "s8", "status": "verified"}') ->> 'outcome', 'recorded', 'by whoever looks');
-- The row names a key that nothing came to; the same content lies under another.
insert into public.storage_generations (project_id, version, generation_id, bucket, object_key, digest, sha256) values
  ('ret-b', 10, 'g10', 'r', 'ret-b/10', 'd10', 's10');
insert into public.storage_archives (bucket, object_key, project_id, version, digest, sha256, archive_bytes, state) values
  ('r', 'ret-b/10', 'ret-b', 10, 'd10', 's10', 10, 'expected'), ('r', 'ret-b/10-other', 'ret-b', 10, 'd10', 'o10', 10, 'expected'),
  ('r', 'ret-b/10-short', 'ret-b', 10, 'd10', 'x10', 10, 'expected');
insert into storage.objects (bucket_id, name, metadata) values ('r', 'ret-b/10-other', '{"eTag": "\"m\"", "size": 10}'),
  ('r', 'ret-b/10-short', '{"eTag": "\"m\"", "size": 3}');
select is(storage_record_deletion('r', 'ret-b', 10, 'g10', '{d10}') -> 'unneeded',
  '[{"bucket": "r", "object_key": "ret-b/10"}, {"bucket": "r", "object_key": "ret-b/10-short"}]', 'what is of another size is none');
select is(pg_temp.state('ret-b/10-other'), 'kept', 'what another host packed is kept');
select is(storage_record_undeletion('ret-b', 10, 'g10') ->> 'status', 'uploaded', 'and is there again');
select is((select object_key || ' ' || sha256 from storage_generations where project_id = 'ret-b' and version = 10),
  'ret-b/10-other o10', 'under its own key');
-- A host that has sent it somewhere that the database does not know.
insert into storage.objects (bucket_id, name, metadata) values
  ('r', 'ret-b/generations/v10__g10.0123456789ab.tar.gz', '{"eTag": "\"m\"", "size": 10}'),
  ('r', 'ret-b/generations/v11__g11.tar.gz', '{"eTag": "\"m\"", "size": 10}');
delete from public.storage_archives where object_key = 'ret-b/10-other';
delete from storage.objects where name = 'ret-b/10-other';
create function pg_temp.tell(version integer, digest text, key text, md5 text) returns jsonb language sql as $$
  select storage_record_deletion('r', 'ret-b', version, 'g' || version, array[digest], null, array[key],
    p_sent => jsonb_build_object('sent_key', key, 'md5', md5, 'sha256', 'sent'))
$$;
select is(pg_temp.tell(10, 'd10', 'ret-b/generations/v10__g10.0123456789ab.tar.gz', 'm') ->> 'outcome', 'recorded',
  'a deletion says where it lies');
select is(pg_temp.state('ret-b/generations/v10__g10.0123456789ab.tar.gz'), 'kept', 'so it is kept');
select is(storage_record_undeletion('ret-b', 10, 'g10') ->> 'status', 'uploaded', 'and can be had back');
select is(pg_temp.tell(11, 'd11', 'ret-b/generations/v11__g11.tar.gz', 'other') -> 'unneeded',
  '[{"bucket": "r", "object_key": "ret-b/generations/v11__g11.tar.gz"}]', 'what is not that goes');
delete from public.storage_archives where object_key like 'ret-b/generations/v11%';
delete from public.storage_generations where project_id = 'ret-b' and version = 11;
select is(pg_temp.tell(11, 'd11', 'ret-b/generations/v11__g11.tar.gz', 'm') -> 'unneeded', '[]',
  'of a version that is not known, too');
select is(storage_record_undeletion('ret-b', 11, 'g11') ->> 'status', 'uploaded', 'it can be had back');
-- Replaced, where nobody said that it was there.
insert into public.storage_generations (project_id, version, generation_id, bucket, object_key, digest, sha256) values
  ('ret-b', 12, 'g12', 'r', 'ret-b/12', 'd12', 's12');
insert into public.storage_archives (bucket, object_key, project_id, version, digest, sha256, archive_bytes, follows, state) values
  ('r', 'ret-b/12', 'ret-b', 12, 'd12', 's12', 10, 0, 'expected'), ('r', 'ret-b/12-new', 'ret-b', 12, 'n12', 't12', 10, 0, 'expected');
update public.storage_archives a set follows = g.epoch, created_at = now() from public.storage_generations g
where a.object_key = 'ret-b/12-new' and g.object_key = 'ret-b/12';
insert into storage.objects (bucket_id, name, metadata)
select 'r', name, '{"eTag": "\"m\"", "size": 10}' from unnest('{ret-b/12,ret-b/12-new}'::text[]) name;
select is(storage_record_generation('{"project_id": "ret-b", "version": 12, "bucket": "r", "object_key": "ret-b/12-new",
  "digest": "n12", "sha256": "t12", "status": "verified"}') ->> 'outcome', 'recorded', 'something else takes its place');
select is(pg_temp.state('ret-b/12'), 'kept', 'what was there is kept');
select is(storage_record_undeletion('ret-b', 12, 'g12', 'd12') ->> 'status', 'uploaded', 'and can be had back');

select * from finish();
rollback;
