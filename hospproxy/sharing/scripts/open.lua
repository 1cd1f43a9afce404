-- Return the epoch, or start one. It has no header, since a worker that connects does not know the epoch yet. It does no harm
-- if it runs late, since it checks that this is still the server that the caller has connected to.
-- KEYS: head, members, leases, log, dead. ARGV: the server's run id, a new epoch, a new sealed secret for names, the last epoch
-- that the caller knew, and the members that it knew there.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.pcall('HMGET', KEYS[1], 'epoch', 'run', 'seq', 'fresh')
if head.err then
  redis.call('DEL', KEYS[1]) -- a foreign value under this key
  head = {}
end
local epoch, begun = head[1], 0
if not epoch or not string.match(epoch, '^%x+$') or #epoch ~= 16 or head[2] ~= ARGV[1] then
  -- The server has restarted, with its data or without: the last messages may be missing. Numbers continue if they are known;
  -- together with the new epoch they are new in any case.
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
  -- A former member that is not back may be cut off and writing: list it as vanished, so that it holds the others back.
  for i = 5, #ARGV do
    if not redis.call('ZSCORE', KEYS[5], ARGV[i]) and redis.call('HSETNX', KEYS[2], ARGV[i], 0) == 1 then
      redis.call('ZADD', KEYS[3], now, ARGV[i])
      redis.call('HINCRBY', KEYS[1], 'count', 1)
    end
  end
end
return {'ok', epoch, redis.call('HGET', KEYS[1], 'names'), now, begun}
