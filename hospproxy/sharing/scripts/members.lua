-- Inserted after the header into the scripts about members. KEYS: head, members, leases, log, dead.
local function is_number(text) return string.match(text, '^%d+$') and #text < 16 end
-- Whether the data about members can be what these scripts have written. If the server has evicted the list of members, it is
-- unknown for whom to wait; data that was changed by hand, or is ahead of a clock that was set back, counts as lost too.
local function whole()
  local head = redis.call('HMGET', KEYS[1], 'count', 'began', 'seq', 'fresh')
  for _, number in ipairs({head[1] or '', head[2] or '', head[3] or '0', head[4] or '0'}) do
    if not is_number(number) then return false end
  end
  return tonumber(head[2]) <= now and redis.pcall('HLEN', KEYS[2]) == tonumber(head[1])
    and redis.pcall('ZCARD', KEYS[3]) == tonumber(head[1])
    and not redis.pcall('XRANGE', KEYS[4], '-', '+', 'COUNT', 1).err and type(redis.pcall('ZCARD', KEYS[5])) == 'number'
end
-- End the epoch: open.lua then clears the data.
local function lost()
  redis.call('HDEL', KEYS[1], 'epoch')
  return {'epoch'}
end
-- Append an entry to the log. Returns its number; nil if the log holds a number that these scripts have not given.
local function append(who, text)
  local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  local added = redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', 10000, seq .. '-0', 'd', text, 'm', who)
  if type(added) == 'string' then return seq end
end
