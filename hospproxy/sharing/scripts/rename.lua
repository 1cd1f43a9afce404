-- Replace the secret for names, sealed again with another master key. ARGV: 3 the old sealed value, 4 the new one.
if redis.call('HGET', KEYS[1], 'names') == ARGV[3] then
  redis.call('HSET', KEYS[1], 'names', ARGV[4])
end
return {'ok'}
