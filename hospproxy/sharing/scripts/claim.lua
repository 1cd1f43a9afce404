-- Claim a turn, and the key if there is one, for a write that is about to be sent.
local turn, equal, key, resource, highest, record = ARGV[5], ARGV[6], ARGV[7], ARGV[10], ARGV[11], ARGV[12]
local gone = ARGV[14]
prune()
-- Keys are kept for a day, and are refused first: a client that floods the hash with keys must not keep others from writing.
if redis.call('HLEN', claims) > tonumber(ARGV[16]) * (key == '' and 1.2 or 1) then return {'ok', mark, 'full', ''} end
local before = read(ref)
if before and before.m == me and is_open(before) then
  -- It was claimed already and the reply was lost: return the same again.
  before.u, before.x = now + tonumber(ARGV[8]), now + tonumber(ARGV[9])
  write(ref, before)
  return {'ok', mark, before.o and 'over' or 'yours', before.f or '', before.d and now - before.d or 0, now - before.c,
    complete() and 1 or 0, before.b and now - before.b or 0}
end
local said, blind, over, dead, first, joined, on_its_way = complete(), 0, nil, nil, nil, nil, nil
if key ~= '' then
  local word, name, w = under_key(key, equal, gone, ARGV[17])
  if word == 'free' then over, dead = name, w
  elseif word then return {'ok', mark, word, word == 'wait' and w.m or name}
  elseif not said then return {'ok', mark, 'unsaid', ''}
  elseif tonumber(redis.call('HGET', claims, '_blind') or 0) > now then
    -- Milliseconds since the claims were lost.
    blind = now - tonumber(redis.call('HGET', claims, '_began'))
  end
else
  for _, name in ipairs(list(equal)) do
    local w = name ~= ref and read(name) or nil
    if w and not w.h and in_window(w) and not overtaken(name, w) then
      local dead_one, mine = w.m == gone or not live(w), name == ARGV[17]
      -- A write for which another request waits as its retry belongs to that request.
      local free = mine or not waited_for(w)
      -- The caller knows its own writes better than Redis does, but not who gets the response once its client has gone.
      local others = w.m ~= me or (not is_open(w) and (w.l or not free))
      if is_open(w) and takeable(w, gone) then
        if not over and free then over, dead = name, w end
      elseif others and free and (w.l or dead_one or w.s == 'given up') and not (mine and is_open(w)) then
        -- No client has its response: it belongs to the next request that asks, even if it was seen only while this one waited.
        if not first then first, joined = name, w end
      elseif others and (mine or not is_open(w)) then
        -- Its response is on its way, or was lost with a worker whose lease still runs: that is unknown until the lease runs out.
        on_its_way = free and w.m or w.j
      end
    end
  end
  if not over and first then
    join(first, joined, 5000)
    return {'ok', mark, 'known', first}
  end
  if not over and on_its_way then return {'ok', mark, 'wait', on_its_way} end
end
local holder = redis.call('HGET', claims, 't:' .. turn)
local held = holder and holder ~= ref and holder ~= over and read(holder) or nil
if held then
  -- A dead worker's other write may still be carried out, and would then come after this one.
  if not takeable(held, gone) or now <= held.u + tonumber(ARGV[13]) then return {'ok', mark, 'wait', held.m} end
end
if holder and holder ~= over then free('t:' .. turn, holder) end
local floor, since, sent = raise(resource, highest), now, now
if over then
  -- The lookup of the outcome starts where the dead worker's would have started.
  floor, since, sent = dead.f or '', dead.c, math.min(now, dead.u)
  dead.s, dead.n = 'over', ref
  unlink(over, dead)
  write(over, dead)
end
local mine = {m = me, t = turn, e = equal, s = 'open', u = now + tonumber(ARGV[8]), c = since, x = now + tonumber(ARGV[9]), a = ARGV[15]}
if key ~= '' then mine.k = key end
if floor ~= '' then mine.f = floor end
if over then mine.o, mine.g, mine.d = 1, dead.g, sent end
if blind > 0 then mine.b = now - blind end
-- The write under this key has ended.
if key ~= '' then redis.call('HDEL', claims, 'k:' .. key) end
link(ref, mine)
write(ref, mine)
if record ~= '' then redis.call('ZADD', touched, now, 't ' .. resource .. ' ' .. record) end
return {'ok', mark, over and 'over' or 'yours', floor, now - sent, now - since, said and 1 or 0, blind}
