-- Without the header: whoever connects does not know the epoch yet. Done late it does no harm, since it asks whether this
-- is still the server that the caller has connected to.
-- KEYS: head, members, leases, log, dead. ARGV: the server's run id, an epoch to begin, sealed key of names to begin with, the
-- epoch that the caller comes from, and whom it knew there as members.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.pcall('HMGET', KEYS[1], 'epoch', 'run', 'seq', 'fresh')
if head.err then
  redis.call('DEL', KEYS[1]) -- somebody has put something else there
  head = {}
end
local epoch, begun = head[1], 0
if not epoch or not string.match(epoch, '^%x+$') or #epoch ~= 16 or head[2] ~= ARGV[1] then
  -- Another life of the server, with what was kept, or nothing: what was said at its end may be missing. The numbers go on
  -- where they are known, and with the epoch they are new in any case.
  epoch, begun = ARGV[2], 1
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'run', ARGV[1], 'began', now, 'count', 0, 'first',
    redis.call('HGET', KEYS[1], 'seq') or 0)
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
  for i, field in ipairs({'seq', 'fresh'}) do
    local number = head[i + 2]
    if number and not (string.match(number, '^%d+$') and #number < 16) then redis.call('HDEL', KEYS[1], field) end
  end
  if type(redis.pcall('ZCARD', KEYS[5])) ~= 'number' then redis.call('DEL', KEYS[5]) end
end
redis.call('HSETNX', KEYS[1], 'names', ARGV[3])
if epoch ~= ARGV[4] then
  -- Who was a member and is not back may be cut off and writing: as one who has vanished he holds the others back.
  for i = 5, #ARGV do
    if not redis.call('ZSCORE', KEYS[5], ARGV[i]) and redis.call('HSETNX', KEYS[2], ARGV[i], 0) == 1 then
      redis.call('ZADD', KEYS[3], now, ARGV[i])
      redis.call('HINCRBY', KEYS[1], 'count', 1)
    end
  end
end
return {'ok', epoch, redis.call('HGET', KEYS[1], 'names'), now, begun}
