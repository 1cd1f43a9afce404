-- Remove members that are known to be dead: a sibling has found their file locks free. KEYS: head, members, leases, log, dead.
-- ARGV: 3 a sealed Everything, 4 the key of the generation that it raises, 5 milliseconds for which that is kept, from 6 on the
-- ids of the dead members.
if not whole() then return lost() end
local gone = 0
for i = 6, #ARGV do
  local lease = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if lease and tonumber(lease) <= now then
    redis.call('HDEL', KEYS[2], ARGV[i])
    redis.call('ZREM', KEYS[3], ARGV[i])
    redis.call('ZADD', KEYS[5], now, ARGV[i])
    gone = gone + 1
  end
end
if gone > 0 then
  -- The others have not heard of what the dead wrote and could not announce any more.
  local seq = append('', ARGV[3])
  if not seq then return lost() end
  redis.call('SET', ARGV[4], seq, 'PX', ARGV[5])
  redis.call('HSET', KEYS[1], 'count', redis.call('HLEN', KEYS[2]))
end
return {'ok', gone}
