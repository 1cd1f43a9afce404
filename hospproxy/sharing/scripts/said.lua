-- A worker has published everything that it knows. ARGV[5] and on: resources, each with the highest id that it has seen.
for at = 5, #ARGV - 1, 2 do raise(ARGV[at], ARGV[at + 1]) end
redis.call('HSET', claims, 's:' .. me, 1)
return {'ok', mark, complete() and 1 or 0}
