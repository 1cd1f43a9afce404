-- The key of names, sealed anew with another master key. ARGV: 3 as it stood, 4 as it is to stand.
if redis.call('HGET', KEYS[1], 'names') == ARGV[3] then
  redis.call('HSET', KEYS[1], 'names', ARGV[4])
end
return {'ok'}
