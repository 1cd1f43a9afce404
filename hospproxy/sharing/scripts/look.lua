-- Return the cache entry under KEYS[2] and the generations under KEYS[3] and on, all of one moment. ARGV[3]: the longest entry
-- that is wanted, in bytes; 0: none is wanted. ARGV[4]: milliseconds for which a new generation is kept.
local generations = {}
for i = 3, #KEYS do
    local found = redis.pcall('GET', KEYS[i])
    if type(found) ~= 'string' then
        -- It expired or was evicted. Only a number that was never used matches no cache entry. The letter tells these numbers
        -- from the numbers of log entries, to which writes raise generations.
        found = 'n' .. redis.call('HINCRBY', KEYS[1], 'fresh', 1)
        redis.call('SET', KEYS[i], found, 'PX', ARGV[4])
    end
    generations[i - 2] = found
end
local value = false
local longest = tonumber(ARGV[3])
if longest > 0 then
    local size = redis.pcall('STRLEN', KEYS[2])
    if type(size) ~= 'number' or size > longest then
        value = '' -- of another type, or longer than keep.lua is ever given: invalid, and counted by the caller
    else
        value = redis.call('GET', KEYS[2])
    end
end
return {'ok', ARGV[1], now, redis.call('HGET', KEYS[1], 'seq'), value, generations}
