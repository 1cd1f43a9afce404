-- Store the cache entry ARGV[3] under KEYS[2] for ARGV[4] milliseconds, if the generations under KEYS[3] and on are still those
-- of ARGV[5] and on. Otherwise the entry could never be served, and might replace a newer one.
for i = 3, #KEYS do
    if redis.pcall('GET', KEYS[i]) ~= ARGV[i + 2] then return {'ok', 0} end
end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return {'ok', 1}
