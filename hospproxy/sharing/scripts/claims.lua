-- Inserted after the header into the scripts about claims. All claims and known writes are in one hash, so that a server that
-- evicts loses all of them or none. The hash's mark (field "_") is also in the two sorted sets: if one of the three is gone, or
-- from another epoch, all three are cleared, and every worker sees by the new mark that claims were lost.
--   w:REFERENCE  one write, as JSON: m member, t turn, e equal, k key, s state, f floor, u until (the latest moment at which it may
--                be sent), c claimed since, x end of the entry, l its client got no response, h a client has the response,
--                j/ju the member that waits as its retry, and until when, wn end of the window in which an equal write is its
--                retry, r record, n the write that took it over, o it took another one over, d the latest moment at which that
--                one may have been sent, b since when its key may have been lost, a author, g what others did before may have
--                been lost, y RESOURCE RECORD that it changes or created, q it created that record, z its position in the order
--                in which writes were settled
--   v:RESOURCE RECORD  the last write that changed this record, as JSON: at its position in that order, e equal, d 1 if it deleted it,
--                o position of the last one before that was not equal to it
--   _n  number of settled writes
--   t:TURN and k:KEY -> reference;  e:EQUAL -> references, oldest first;  h:RESOURCE -> highest id;
--   s:MEMBER -> it has published everything again
local claims, ends, touched, leases, members, answer = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local me, ref = ARGV[3], ARGV[4]
-- Data that none of these scripts can have written (changed by hand, or of another type) counts as lost, too.
local function spoiled()
  redis.call('DEL', claims, ends, touched)
  error('claims are spoiled')
end
local function is_number(text) return not text or string.match(text, '^%d+$') and #text < 16 end
local mark = redis.pcall('HGET', claims, '_')
if type(mark) ~= 'string' or string.sub(mark, 1, #ARGV[1]) ~= ARGV[1]
  or type(redis.pcall('ZSCORE', touched, mark)) ~= 'string' or type(redis.pcall('ZSCORE', ends, mark)) ~= 'string' then
  redis.call('DEL', claims, ends, touched)
  mark = ARGV[1] .. ' ' .. time[1] .. '.' .. time[2] .. ' ' .. me
  redis.call('HSET', claims, '_', mark, '_began', now)
  redis.call('ZADD', touched, '+inf', mark)
  redis.call('ZADD', ends, '+inf', mark)
end
local moments = redis.call('HMGET', claims, '_began', '_blind')
if not (moments[1] and is_number(moments[1]) and is_number(moments[2])) then spoiled() end

local function decoded(text, of)
  local done, found = pcall(cjson.decode, text)
  if not done or type(found) ~= 'table' then spoiled() end
  for kind, fields in pairs(of) do
    for _, field in ipairs(fields) do
      if type(found[field]) ~= kind then spoiled() end
    end
  end
  return found
end
local WRITE = { string = {'m', 't', 'e', 's'}, number = {'u', 'c', 'x'} }
local function read(name)
  local found = redis.call('HGET', claims, 'w:' .. name)
  local w = found and decoded(found, WRITE) or nil
  if w and w.x > now then return w end
end
local function list(equal)
  local found = redis.call('HGET', claims, 'e:' .. equal)
  return found and decoded(found, {}) or {}
end
local function keep_list(equal, names)
  if #names == 0 then redis.call('HDEL', claims, 'e:' .. equal)
  else redis.call('HSET', claims, 'e:' .. equal, cjson.encode(names)) end
end
local function unlist(name, w)
  local left = {}
  for _, one in ipairs(list(w.e)) do if one ~= name then left[#left + 1] = one end end
  keep_list(w.e, left)
end
local function free(field, name)
  if redis.call('HGET', claims, field) == name then redis.call('HDEL', claims, field) end
end
local function write(name, w)
  redis.call('HSET', claims, 'w:' .. name, cjson.encode(w))
  redis.call('ZADD', ends, w.x, name)
end
-- Make a write findable by its turn, and by its key or, without one, by its equal writes. A turn or key that is already held
-- stays with its holder.
local function link(name, w)
  redis.call('HSETNX', claims, 't:' .. w.t, name)
  if w.k then redis.call('HSETNX', claims, 'k:' .. w.k, name)
  else
    local names = list(w.e)
    for _, one in ipairs(names) do if one == name then return end end
    -- At most 64 equal writes are listed: drop the oldest.
    if #names >= 64 then table.remove(names, 1) end
    names[#names + 1] = name
    keep_list(w.e, names)
  end
end
local function unlink(name, w)
  free('t:' .. w.t, name)
  if w.k then free('k:' .. w.k, name) else unlist(name, w) end
end
local function prune()
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 20)) do
    local found = redis.call('HGET', claims, 'w:' .. name)
    if found then unlink(name, decoded(found, WRITE)) end
    -- In the set, "v:RESOURCE RECORD" has its own name as its member.
    redis.call('HDEL', claims, 'w:' .. name, name)
    redis.call('ZREM', ends, name)
  end
  redis.call('ZREMRANGEBYSCORE', touched, '-inf', now - 7200000)
end
local function is_open(w) return w.s == 'open' end
local function has_lease(member)
  local lease = redis.call('ZSCORE', leases, member)
  return lease and tonumber(lease) > now
end
local function live(w) return has_lease(w.m) end
local function waited_for(w) return w.j and w.ju > now and has_lease(w.j) end
local function join(name, w, wait_ms)
  w.j, w.ju = me, now + tonumber(wait_ms)
  write(name, w)
end
-- A claim can be taken over when no worker can send its write any more. `gone`: a member whose process the caller has seen to be dead.
local function takeable(w, gone) return w.m == gone or (now > w.u and not live(w)) end
local function in_window(w) return is_open(w) or not w.wn or now < w.wn end
-- Whether another write has changed its record since, or is changing it now: an equal write of its author is then a new wish, no retry.
local CHANGE = { string = {'e'}, number = {'at', 'd'} }
local function overtaken(name, w)
  if is_open(w) or not w.y or not w.z then return false end
  local holder = not w.q and redis.call('HGET', claims, 't:' .. w.t)
  local there = holder and holder ~= name and read(holder) or nil
  if there and is_open(there) and there.e ~= w.e then return true end
  local found = redis.call('HGET', claims, 'v:' .. w.y)
  local last = found and decoded(found, CHANGE) or nil
  if not last then return false end
  if w.q then return last.at > w.z and last.d == 1 end
  -- An equal write under a key may have come last; what counts is the last one that was not equal.
  if last.e == w.e then return type(last.o) == 'number' and last.o > w.z end
  return last.at > w.z
end
local function machine(member) return string.match(member, '^[^.]*') end
local function raise(resource, number)
  if resource == '' then return '' end
  local high = redis.call('HGET', claims, 'h:' .. resource)
  if high and not string.match(high, '^%d+$') then spoiled() end
  if number ~= '' and (not high or tonumber(number) > tonumber(high)) then
    redis.call('HSET', claims, 'h:' .. resource, number)
    return number
  end
  return high or ''
end
-- Whether everything known before the mark was published again: every member has done so, or ten seconds have passed.
local function complete()
  if redis.call('HGET', claims, '_complete') then return true end
  local missing = redis.call('HEXISTS', members, me) == 0
  for _, member in ipairs(redis.call('HKEYS', members)) do
    if redis.call('HEXISTS', claims, 's:' .. member) == 0 then missing = true end
  end
  if missing and now < tonumber(redis.call('HGET', claims, '_began')) + 10000 then return false end
  redis.call('HSET', claims, '_complete', 1)
  -- For a day, a retry may still come with a key that only the silent members knew.
  if missing then redis.call('HSET', claims, '_blind', now + 86400000) end
  return true
end
-- Decide about a write with a key. Returns nil if no other write has the key, else the verdict, that write's reference and the
-- write. `orphan`: reference of a write whose process the caller has seen to be dead.
local function under_key(key, equal, gone, orphan)
  local name = redis.call('HGET', claims, 'k:' .. key)
  local w = name and name ~= ref and read(name) or nil
  if not w then return nil end
  if w.e ~= equal then return 'other', name, w end
  if not is_open(w) then return 'known', name, w end
  if takeable(w, gone) then return 'free', name, w end
  if not live(w) or name == orphan then return 'wait', name, w end
  return w.l and 'known' or 'busy', name, w
end
