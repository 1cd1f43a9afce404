-- Before the scripts about members, after the header. KEYS: head, members, leases, log, dead.
local function is_number(text) return string.match(text, '^%d+$') and #text < 16 end
-- Whether what is known of members can be what these scripts have left. Where the server has thrown away who is a member
-- nobody can tell any more who has to be waited for; what was changed by hand, or by a clock that was set back, is as good as gone.
local function whole()
  local head = redis.call('HMGET', KEYS[1], 'count', 'began', 'seq', 'fresh')
  for _, number in ipairs({head[1] or '', head[2] or '', head[3] or '0', head[4] or '0'}) do
    if not is_number(number) then return false end
  end
  return tonumber(head[2]) <= now and redis.pcall('HLEN', KEYS[2]) == tonumber(head[1])
    and redis.pcall('ZCARD', KEYS[3]) == tonumber(head[1])
    and not redis.pcall('XRANGE', KEYS[4], '-', '+', 'COUNT', 1).err and type(redis.pcall('ZCARD', KEYS[5])) == 'number'
end
-- Then the epoch ends: open.lua clears all of it away.
local function lost()
  redis.call('HDEL', KEYS[1], 'epoch')
  return {'epoch'}
end
-- The number of a new entry of the log; nil where the log has numbers that nobody has given.
local function append(who, text)
  local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  local added = redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', 10000, seq .. '-0', 'd', text, 'm', who)
  if type(added) == 'string' then return seq end
end
