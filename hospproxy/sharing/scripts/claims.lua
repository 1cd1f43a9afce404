-- Before the scripts about claims, after the header. All that is claimed or known stands in one hash, so that a server that evicts
-- loses all of it or nothing. Its mark (field "_") stands in the two sorted sets beside it, too: if one of the three is gone, or of
-- another epoch, all begin anew, and everybody sees by the mark that something was lost.
--   w:REFERENCE  one write, as JSON: m member, t turn, e equal, k key, s state, f floor, u until (the latest moment at which it may
--                be sent), c since, x end, l its client got no answer, h handed over, j/ju who waits as its retry and until when,
--                wn end of the window in which an equal write is its retry, r record, n which write took it over, o it took one over, d which may have been sent until then,
--                b since when its key may have been lost, a author, g what others did before may have been lost
--                y RESOURCE RECORD that it changes or made, q it made that, z its place in the order
--                in which writes were settled
--   v:RESOURCE RECORD  the last write that changed this record, as JSON: at its place in that order, e equal, d 1 if it deleted it
--   _n  how many have been settled
--   t:TURN and k:KEY -> reference;  e:EQUAL -> references, oldest first;  h:RESOURCE -> highest id;  s:MEMBER -> it has said again
local claims, ends, touched, leases, members, answer = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local me, ref = ARGV[3], ARGV[4]
-- What somebody has put there by hand counts as gone, too: of another kind, or what none of these scripts writes.
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
-- Find it by its turn, its key, or what it is equal to. Who came before it and is open keeps the place.
local function link(name, w)
  redis.call('HSETNX', claims, 't:' .. w.t, name)
  if w.k then redis.call('HSETNX', claims, 'k:' .. w.k, name)
  else
    local names = list(w.e)
    for _, one in ipairs(names) do if one == name then return end end
    -- More are not told apart: the oldest is forgotten.
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
    -- "v:RESOURCE RECORD" stands in the set under its own name.
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
-- A claim can be taken when nobody can send its write any more. `gone`: a member of whom the caller has seen that its process is.
local function takeable(w, gone) return w.m == gone or (now > w.u and not live(w)) end
local function in_window(w) return is_open(w) or not w.wn or now < w.wn end
-- Whether its record was changed since, or is being changed: then its author, who writes the same again, wishes for it anew.
local CHANGE = { string = {'e'}, number = {'at', 'd'} }
local function overtaken(name, w)
  if is_open(w) or not w.y or not w.z then return false end
  local holder = not w.q and redis.call('HGET', claims, 't:' .. w.t)
  local there = holder and holder ~= name and read(holder) or nil
  if there and is_open(there) and there.e ~= w.e then return true end
  local found = redis.call('HGET', claims, 'v:' .. w.y)
  local last = found and decoded(found, CHANGE) or nil
  return last and last.at > w.z and last.e ~= w.e and (not w.q or last.d == 1)
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
-- Whether what was known before the mark has been said again: by every member, or ten seconds have passed.
local function complete()
  if redis.call('HGET', claims, '_complete') then return true end
  local missing = redis.call('HEXISTS', members, me) == 0
  for _, member in ipairs(redis.call('HKEYS', members)) do
    if redis.call('HEXISTS', claims, 's:' .. member) == 0 then missing = true end
  end
  if missing and now < tonumber(redis.call('HGET', claims, '_began')) + 10000 then return false end
  redis.call('HSET', claims, '_complete', 1)
  -- Keys that were known only to those who were passed over could come for a day.
  if missing then redis.call('HSET', claims, '_blind', now + 86400000) end
  return true
end
-- What becomes of a write under a key: nil if nobody else has it, else the word for it, and whose it is. `orphan`: the caller has seen
-- that this one's process is gone.
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
