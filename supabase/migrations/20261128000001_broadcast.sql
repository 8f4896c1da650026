-- Live updates, where the platform has Realtime: a message to the owner of a generation about each
-- change of its state. Not by postgres_changes: that never delivers what its policy hides, and that
-- is what was deleted.

create function public.storage_broadcast()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  told record;
begin
  if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is null then
    return null;
  end if;
  begin
    if tg_op = 'INSERT' then
      for told in
        select p.owner_id as owner, to_jsonb(after) as generation, after.status as what
        from after join public.storage_projects p on p.id = after.project_id
        where p.owner_id is not null
      loop
        perform public.storage_tell(told.owner, told.generation, told.what);
      end loop;
    else
      for told in
        select p.owner_id as owner, to_jsonb(changed) as generation,
          case when changed.earlier_status = 'deleted' then 'undeleted' else changed.status end as what
        from (
          select *, lag(status) over versions as earlier_status, lag(digest) over versions as earlier_digest
          from (
            select project_id, version, generation_id, status, failure, digest, true as is_after from after
            union all
            select project_id, version, generation_id, status, failure, digest, false from before
          ) both_states
          window versions as (partition by project_id, version order by is_after)
        ) changed
        join public.storage_projects p on p.id = changed.project_id
        where p.owner_id is not null and changed.is_after
          and (changed.status, changed.digest)
            is distinct from (changed.earlier_status, changed.earlier_digest)
      loop
        perform public.storage_tell(told.owner, told.generation, told.what);
      end loop;
    end if;
  exception when others then
    -- Who listens misses it, and asks. Nobody's upload fails for it.
    raise warning 'Realtime did not take a message: %', sqlerrm;
  end;
  return null;
end
$$;
comment on function public.storage_broadcast is
  'Sends the owner of a generation what became of it: event generation.{status}, or generation.undeleted, topic storage:{owner}.';

create function public.storage_tell(p_owner uuid, p_generation jsonb, p_what text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  execute 'select realtime.send($1, $2, $3, true)' using
    jsonb_build_object(
      'project_id', p_generation -> 'project_id', 'version', p_generation -> 'version',
      'generation_id', p_generation -> 'generation_id', 'status', p_generation -> 'status',
      'failure', p_generation -> 'failure', 'digest', p_generation -> 'digest'
    ),
    'generation.' || p_what,
    'storage:' || p_owner;
end
$$;
comment on function public.storage_tell is 'Sends one message, where Realtime is.';

revoke all on function public.storage_broadcast(),
  public.storage_tell(uuid, jsonb, text) from public, anon, authenticated;
grant execute on function public.storage_broadcast(),
  public.storage_tell(uuid, jsonb, text) to service_role;

create trigger storage_generations_told
  after insert on public.storage_generations referencing new table as after
  for each statement execute function public.storage_broadcast();
create trigger storage_generations_told_again
  after update on public.storage_generations referencing old table as before new table as after
  for each statement execute function public.storage_broadcast();

create function public.storage_allow_listening()
returns void
language plpgsql
set search_path = ''
as $$
begin
  if to_regclass('realtime.messages') is not null then
    execute 'drop policy if exists "owners hear of their generations" on realtime.messages';
    execute $policy$
      create policy "owners hear of their generations" on realtime.messages
        for select to authenticated
        using (
          (select realtime.topic()) = 'storage:' || (select auth.uid())::text
          and extension = 'broadcast'
        )
    $policy$;
  end if;
end
$$;
comment on function public.storage_allow_listening is
  'Lets each user listen to a topic of their own, where Realtime is; nobody sends there but the database.';
revoke all on function public.storage_allow_listening() from public, anon, authenticated;
grant execute on function public.storage_allow_listening() to service_role;
select public.storage_allow_listening();
