-- Record the outcome of a write, or what became of its response. An unknown write is created: after a loss every worker publishes
-- its writes again.
local turn, equal, key, state, record, resource = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
-- change: 'c' if it changed its record or may have, 'd' if it deleted it. about: the record that it changes.
-- ARGV[11]: 1 if no client got the response, 2 if its client was told that the outcome is unknown.
local change, about = ARGV[18], ARGV[19]
local lost, handed, left = ARGV[11] ~= '0', ARGV[12] == '1', ARGV[13] == '1'
-- It is settled but may still be in flight at the upstream. 1: the caller keeps its turn until it says 0; 2: another process of its
-- machine does, and the caller only repeats the outcome.
local keeper, over = ARGV[20] == '1', ARGV[20] == '0'
if (state == 'answered' or state == 'found') and record ~= '' and resource ~= '' then
  -- A worker that looks for the record of an equal write must know that this one is taken.
  redis.call('ZADD', touched, 'NX', now, 'c ' .. resource .. ' ' .. record .. ' ' .. ref)
  if string.match(record, '^%d+$') and #record < 16 then raise(resource, record) end
end
local w = read(ref)
local was_open = w and is_open(w)
if not w then
  if turn == '' or state == 'back' or state == 'absent' then return {'ok', mark} end
  w = {m = me, t = turn, e = equal, s = 'open', u = now, c = now, x = 0, a = ARGV[15], g = 1}
  if key ~= '' then w.k = key end
  link(ref, w)
end
if state ~= '' and not is_open(w) and machine(w.m) == machine(me) then
  if over then free('t:' .. w.t, ref) end
elseif state ~= '' and is_open(w) and machine(w.m) == machine(me) then
  if state == 'back' and w.o then
    -- Nothing was sent, but the outcome of the write that it took over is still unknown.
    w.m, w.u = '-', math.min(w.u, now)
  elseif state == 'back' or state == 'absent' then
    w.s = 'absent'
    unlink(ref, w)
  elseif state ~= 'open' then
    w.s = state
    if over or not was_open then free('t:' .. w.t, ref) end
  end
  if record ~= '' then w.r = record end
end
if keeper and machine(w.m) == machine(me) then
  -- The process that claimed it may have died, even if its lease still runs; or Redis knows it only from a sibling.
  w.m = me
  redis.call('HSETNX', claims, 't:' .. w.t, ref)
end
if about ~= '' then w.y = about
elseif record ~= '' and resource ~= '' then w.y, w.q = resource .. ' ' .. record, 1 end
if not is_open(w) and not w.z then
  w.z = redis.call('HINCRBY', claims, '_n', 1)
  -- Skip this when it is published again after a loss: the time of the change is then unknown.
  if was_open and change ~= '' and about ~= '' then
    local field = 'v:' .. about
    local found = redis.call('HGET', claims, field)
    local last = found and decoded(found, CHANGE) or nil
    local other = last and (last.e ~= w.e and last.at or last.o) or nil
    redis.call('HSET', claims, field, cjson.encode({at = w.z, e = w.e, d = change == 'd' and 1 or 0, o = other}))
    -- A client that waits for a response from before the change may leave later, and may retry within a window after that.
    redis.call('ZADD', ends, now + 2 * tonumber(ARGV[17]) + 60000, field)
  end
end
if not w.wn and (not is_open(w) or ARGV[11] == '2') then w.wn = now + tonumber(ARGV[17]) end
if left then
  w.j, w.ju = nil, nil
  -- A client that leaves without a response may retry for as long as the first client might.
  if w.wn then w.wn = now + tonumber(ARGV[17]) end
end
if lost or left then w.l = 1 end
if handed then
  w.h = 1
  if not w.k then
    unlist(ref, w)
    if answer then redis.call('DEL', answer) end
  end
end
if (w.k or not w.h) and answer and ARGV[16] ~= '' then
  redis.call('SET', answer, ARGV[16], 'PX', ARGV[14])
end
w.x = math.max(w.x, now + tonumber(ARGV[14]))
write(ref, w)
return {'ok', mark}
