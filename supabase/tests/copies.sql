-- Replicas: what is owed to them, what is to go from there, and who is given it.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(49);

delete from storage_replicas;
create function pg_temp.gen(v integer, at_status text default 'verified') returns void language sql as $$
  insert into storage_generations (project_id, version, generation_id, bucket, object_key, status, digest, sha256,
    archive_bytes, uploaded_at, verified_at)
  values ('zz', v, 'g' || v, 'c', 'zz/' || v, at_status, 'd' || v, 's' || v, 10, now(), now());
  insert into storage_archives (bucket, object_key, project_id, version, digest, sha256, archive_bytes, host_id, state)
  values ('c', 'zz/' || v, 'zz', v, 'd' || v, 's' || v, 10, 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'current')
$$;
create function pg_temp.states(of text default 'far') returns text language sql as $$
  select coalesce(string_agg(object_key || '=' || state, ' ' order by object_key), '') from storage_copies where replica = of
$$;
create function pg_temp.claim(host text, many integer default 10) returns text language sql as $$
  select coalesce(string_agg((item ->> 'object_key') || ' ' || (item ->> 'state'), ', ' order by item ->> 'object_key'), '')
  from jsonb_array_elements(storage_claim_copies('far', host::uuid, many)) item
$$;
create function pg_temp.note(key text, became text, wait bigint default null) returns void language sql as $$
  select storage_note_copies('far', jsonb_build_array(jsonb_build_object('bucket', 'c', 'object_key', key,
    'project_id', 'zz', 'version', split_part(key, '/', 2)::integer, 'outcome', became, 'sha256', 'sha', 'failure', case became when 'failed' then 'no' end, 'wait_ms', wait)))
$$;
create function pg_temp.later(by interval) returns void language sql as $$
  update storage_copies set due_at = due_at - by, claimed_until = claimed_until - by, state_at = state_at - by
$$;

insert into storage_projects (id, owner_id, name) values ('zz', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'Shop');
select pg_temp.gen(1), pg_temp.gen(2);
select is(pg_temp.states(), '', 'without a replica nothing is owed to one');
select throws_ok($$ select storage_add_replica('Far Away', 'c', 'x') $$, '23514', null, 'a name is of small letters');
select is(storage_owe_copies('far', 10) ->> 'outcome', 'missing', 'nothing is owed to one that is not there');
select is(storage_add_replica('far', 'c', 'eu-west-1') ->> 'outcome', 'recorded', 'one is added');
select storage_add_replica('far', 'c', 'eu-west-2');
select is((select region from storage_replicas), 'eu-west-2', 'added again, it is where it is said to be last');
select is(storage_add_replica('far', 'd', 'x') ->> 'outcome', 'other', 'of one bucket');
select is(pg_temp.states(), '', 'what was verified before is not owed by that');
select pg_temp.gen(3), pg_temp.gen(4, 'uploaded');
select is(pg_temp.states(), 'zz/3=owed', 'what is verified from then on is, and what is not, is not');
update storage_generations set status = 'verified' where project_id = 'zz' and version = 4;
select is(pg_temp.states(), 'zz/3=owed zz/4=owed', 'it is once it is');
select is(storage_owe_copies('far', 2, 'zz', 0), '{"outcome": "recorded", "owed": 2, "next": {"project_id": "zz", "version": 2}}',
  'what was verified before is owed, some at a time');
select is(storage_owe_copies('far', 100, 'zz', 2) - 'next', '{"outcome": "recorded", "owed": 0}', 'what is owed already is not owed twice');

-- Of another bucket.
insert into storage_generations (project_id, version, generation_id, bucket, object_key, status, digest)
values ('zz', 9, 'g9', 'd', 'zz/9', 'verified', 'd9');
insert into storage_archives (bucket, object_key, project_id, version, state) values ('d', 'zz/9', 'zz', 9, 'current');
select is(storage_owe_copies('far', 100, 'zz', 2) ->> 'owed', '0', 'what lies in another bucket is not owed');
delete from storage_archives where bucket = 'd' and project_id = 'zz';
delete from storage_generations where bucket = 'd' and project_id = 'zz';

-- Whoever has it on its disk.
update storage_copies set due_at = now() - (10 - version) * interval '1 second';
update storage_archives set host_id = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb' where object_key = 'zz/4';
update storage_copies set host_id = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb' where object_key = 'zz/4';
update storage_copies set host_id = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa' where object_key <> 'zz/4';
select is(pg_temp.claim('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'), 'zz/4 owed', 'a host is given what it has on its disk');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 2), 'zz/1 owed, zz/2 owed', 'so many as it asks for');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), 'zz/3 owed', 'what is worked on is given to nobody');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), '', 'so that nothing is left');
select pg_temp.note('zz/1', 'copied');
select is((select state || ' ' || sha256 from storage_copies where object_key = 'zz/1'), 'copied sha', 'what is copied is known, with its hash');
select is(storage_copies_of('c', 'zz/1'), '["far"]', 'and may be asked for there');
select pg_temp.note('zz/2', 'failed', 60000);
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), '', 'what failed waits');
select is(storage_count_copies() -> 0 ->> 'failed', '1', 'and is counted');
select is(storage_count_copies() -> 0 ->> 'failure', 'no', 'with its reason');
select pg_temp.later('61 seconds');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), 'zz/2 owed', 'it is tried again after its time');
select is(storage_count_copies() -> 0 ->> 'failure', 'no', 'while it is, it is known how it failed last');
select pg_temp.note('zz/2', 'failed', 3600000);
select is(storage_owe_copies('far', 100, 'zz') ->> 'owed', '0', 'owed again, nothing new is');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), 'zz/2 owed', 'and what failed is tried at once');
select storage_owe_copies('far', 100, 'zz');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), '', 'unless somebody does');
select pg_temp.later('6 minutes');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), 'zz/2 owed, zz/3 owed', 'what a host was given and did not end goes to another');
select pg_temp.later('6 minutes');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), 'zz/2 owed, zz/3 owed, zz/4 owed', 'after ten minutes also to one that has it not on its disk');

-- What goes.
select pg_temp.note('zz/3', 'copied'), pg_temp.note('zz/4', 'copied');
select storage_record_deletion('c', 'zz', 1, 'g1', '{d1}'), storage_record_deletion('c', 'zz', 2, 'g2', '{d2}');
select is(pg_temp.states(), 'zz/1=copied zz/2=owed zz/3=copied zz/4=copied', 'what is kept for a while stays there too');
update storage_generations set purge_at = now() - interval '1 second' where project_id = 'zz' and version in (1, 2);
update storage_archives set purge_at = now() - interval '1 second' where project_id = 'zz' and version in (1, 2);
select storage_purge(100);
select is(pg_temp.states(), 'zz/1=unneeded zz/2=unneeded zz/3=copied zz/4=copied', 'what is purged is to go');
select is(pg_temp.claim('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'), 'zz/1 unneeded', 'any host removes it, and waits for whoever is about to put it there');
select pg_temp.note('zz/2', 'copied');
select is(pg_temp.claim('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'), 'zz/2 unneeded', 'what was put there after that goes');
select pg_temp.note('zz/1', 'removed'), pg_temp.note('zz/2', 'removed');
select is(pg_temp.states(), 'zz/3=copied zz/4=copied', 'what is gone is forgotten');
select pg_temp.note('zz/1', 'copied');
select is(pg_temp.states(), 'zz/1=unneeded zz/3=copied zz/4=copied', 'what was put there after that is to go again');
select pg_temp.claim('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'), pg_temp.note('zz/1', 'removed');
select is(pg_temp.states(), 'zz/3=copied zz/4=copied', 'and goes');

-- Needed again while it goes.
update storage_archives set state = 'unneeded' where object_key = 'zz/3';
select is(pg_temp.claim('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'), 'zz/3 unneeded', 'one is removed');
update storage_generations set status = 'uploaded' where project_id = 'zz' and version = 3;
update storage_generations set status = 'verified' where project_id = 'zz' and version = 3;
select is(pg_temp.states(), 'zz/3=owed zz/4=copied', 'meanwhile it is needed again');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), '', 'nobody copies it before it is gone');
select pg_temp.note('zz/3', 'removed');
select is(pg_temp.claim('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'), 'zz/3 owed', 'then somebody does');

select is(storage_lose_copies('far', '[{"bucket": "c", "object_key": "zz/4"}, {"bucket": "c", "object_key": "zz/3"}]') ->> 'owed', '1',
  'what is found missing is owed again, once');
select is(storage_copies_of('c', 'zz/4'), '[]', 'what is owed is not there');
select is(storage_copies_of('c', 'zz/3'), '[]', 'nor what is to be copied');
select is(jsonb_array_length(storage_list_copies('far', 10)), 2, 'all are listed');
select is(jsonb_array_length(storage_list_copies('far', 10, '', '', 'zz')), 2, 'or those of a project');
select is(jsonb_array_length(storage_list_copies('far', 10, '', '', 'z')), 0, 'which has none, it may be');
select is(storage_list_copies('far', 10, 'c', 'zz/3') -> 0 ->> 'object_key', 'zz/4', 'page by page');

-- Files of projects.
select is((select item ->> 'file' from jsonb_array_elements(storage_claim_replica_projects('far', 10000)) item where item ->> 'project_id' = 'zz')::jsonb ->> 'name',
  'Shop', 'the file of a project is written there too');
update storage_projects set name = 'Store' where id = 'zz';
select storage_record_replica_projects('far', jsonb_build_array(jsonb_build_object('project_id', 'zz', 'revision', 0)));
select is((select item ->> 'file' from jsonb_array_elements(storage_claim_replica_projects('far', 10000)) item where item ->> 'project_id' = 'zz')::jsonb ->> 'name',
  'Store', 'and once more where something changed meanwhile');

select storage_forget_replica('far');
select is_empty('select from storage_copies where replica = ''far''', 'forgotten, nothing is owed to it');
select * from finish();
rollback;
