-- A heartbeat. KEYS: head, members, leases, log, dead. ARGV: 3 member, 4 number of the last entry that it has applied (when it
-- joins: 'now', or 'all' for the whole log of this epoch), 5 'beat' or 'leave', 6 length of a lease and 7 time after which a
-- silent member is buried, both in milliseconds, 8 channel for wake-ups, 9 a sealed Everything, 10 the key of the generation
-- that it raises, 11 milliseconds for which a generation is kept, 12 '1' if a sender waits for its messages to be read; then
-- for each message: the sealed message, the number of generations that it raises, their keys.
local member, channel = ARGV[3], ARGV[8]
if not whole() then return lost() end
local said, i = 0, 13
while i <= #ARGV do
  said = append(member, ARGV[i])
  if not said then return lost() end
  local raised = tonumber(ARGV[i + 1])
  for j = i + 2, i + 1 + raised do
    redis.call('SET', ARGV[j], said, 'PX', ARGV[11])
  end
  i = i + 2 + raised
end
local before = redis.call('HGET', KEYS[2], member)
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local pos = tonumber(ARGV[4] == 'all' and redis.call('HGET', KEYS[1], 'first') or ARGV[4]) or seq
if ARGV[5] == 'leave' then
  redis.call('HDEL', KEYS[2], member)
  redis.call('ZREM', KEYS[3], member)
  redis.call('ZADD', KEYS[5], now, member)
else
  redis.call('HSET', KEYS[2], member, pos)
  redis.call('ZADD', KEYS[3], now + ARGV[6], member)
  redis.call('ZREM', KEYS[5], member)
end
local buried = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[7], 'LIMIT', 0, 100)
for _, gone in ipairs(buried) do
  redis.call('HDEL', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
  redis.call('ZADD', KEYS[5], now, gone)
end
if #buried > 0 then
  -- The others have not heard of what it may have written while it was cut off.
  seq = append('', ARGV[9])
  if not seq then return lost() end
  redis.call('SET', ARGV[10], seq, 'PX', ARGV[11])
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - 172800000)
end
redis.call('HSET', KEYS[1], 'count', redis.call('HLEN', KEYS[2]))
if said > 0 and ARGV[12] == '1' then
  redis.call('PUBLISH', channel, 's ' .. ARGV[1] .. ' ' .. said)
end
if ARGV[5] ~= 'leave' and before and pos > tonumber(before) then
  redis.call('PUBLISH', channel, 'a ' .. ARGV[1] .. ' ' .. member .. ' ' .. pos)
end
local news = {}
if seq > pos then
  news = redis.call('XRANGE', KEYS[4], '(' .. pos .. '-0', '+', 'COUNT', 500)
end
local members = {}
local leases = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for j = 1, #leases, 2 do
  local read, lease = redis.call('HGET', KEYS[2], leases[j]) or '0', leases[j + 1]
  if not is_number(read) or not is_number(lease) or tonumber(lease) > now + 3600000 then return lost() end
  table.insert(members, {leases[j], read, lease})
end
return {'ok', now, tonumber(redis.call('HGET', KEYS[1], 'began')), seq, said, pos, news, members}
